"""Templates of home, time, numbers, family, food, shopping and health; `grammar` tells how to read them."""

HOME = """
# home/switch
{name}, turn {switch} the {device} in the {room}.
{name}, schalte {device} {room} {switch}.
{name}, {switch} {device} en {room}.
{name}, {switch} {device} dans {room}.

# home/open
{name}, {opening} the {closed} in the {room}.
{name}, {opening} {closed} {room}.
{name}, {opening} {closed} en {room}.
{name}, {opening} {closed} dans {room}.

# time/wake
Wake {person} on {day} at {hour} o'clock!
Weck {person.1} am {day} um {hour} Uhr!
¡Despierta a {person} {day} a las {hour}!
Réveille {person} {day} à {hour} heures!

# time/timer
Set a timer for {number} {unit} for the {food}.
Stelle einen Wecker auf {number} {unit} für {food}.
Pon un aviso de {number} {unit} para {food}.
Mets une alarme de {number} {unit} pour {food.2}.

# time/event
The {event} starts on {day} at {hour} o'clock.
{event} beginnt am {day} um {hour} Uhr.
{event} empieza {day} a las {hour}.
{event} commence {day} à {hour} heures.

# numbers/code
The code for the {room} is {digit} {digit:b} {digit:c}.
Der Code {room.1} ist {digit} {digit:b} {digit:c}.
El código para {room} es {digit} {digit:b} {digit:c}.
Le code pour {room} est {digit} {digit:b} {digit:c}.

# numbers/sum
What is {number} {operation} {number:b}?
Was ist {number} {operation} {number:b}?
¿Cuánto es {number} {operation} {number:b}?
Combien font {number} {operation} {number:b}?

# family/with
{person} is in the {room} with {person:b}.
{person} ist mit {person:b.2} {room}.
{person} está en {room} con {person:b}.
{person} est dans {room} avec {person:b}.

# family/where
Is {person} in the {room} on {day}?
Ist {person} am {day} {room}?
¿Está {person} {day} en {room}?
{person} est dans {room} {day}?

# family/age
{person} is {number} years old.
{person} ist {number} Jahre alt.
{person} tiene {number} años.
{person} a {number} ans.

# family/gift
{person} has bought {gift} for {person:b}.
{person} hat {gift} für {person:b.1} gekauft.
{person} ha comprado {gift} para {person:b}.
{person} a acheté {gift} pour {person:b}.

# animals/pets
{person} has {hour} {colour} {animals}.
{person} hat {hour} {colour} {animals}.
{person} tiene {hour} {animals} {colour~animals}.
{person} a {hour} {animals} {colour~animals}.

# animals/outside
There are {number} {animals} in the {nature}.
{nature} sind {number} {animals}.
Hay {number} {animals} en {nature}.
Il y a {number} {animals} dans {nature}.

# animals/spot
The {colour} {animal} {doing} {spot}.
{animal} {colour} {animal.1} {doing} {spot}.
{animal} {colour~animal} {doing} {spot}.
{animal} {colour~animal} {doing} {spot}.

# shopping/need
We need {number} {colour} {clothes}.
Wir brauchen {number} {colour} {clothes}.
Necesitamos {number} {clothes} {colour~clothes}.
Il nous faut {number} {clothes} {colour~clothes}.

# shopping/price
The {colour} {article} costs {number} euros.
{article} {colour} {article.1} kostet {number} Euro.
{article} {colour~article} cuesta {number} euros.
{article} {colour~article} coûte {number} euros.

# shopping/list
Put {food} and {food:b} on the list, {name}!
Setze {food} und {food:b} auf die Liste, {name}!
¡Pon {food} y {food:b} en la lista, {name}!
Mets {food} et {food:b} sur la liste, {name}!

# food/meal
For {meal} we have {food} with {food:b}.
Zum {meal} haben wir {food} mit {food:b}.
Para {meal} tomamos {food} con {food:b}.
Pour {meal} nous prenons {food} avec {food:b}.

# food/never
{person} never eats {food}.
{person} isst nie {food}.
{person} nunca come {food}.
{person} ne mange jamais {food.1}.

# food/offer
Would you like {food} or {food:b}?
Möchtest du {food} oder {food:b}?
¿Quieres {food} o {food:b}?
Tu veux {food} ou {food:b}?

# health/ill
{person} has had {ailment} since {day}.
{person} hat seit {day} {ailment}.
{person} tiene {ailment} desde {day}.
{person} a {ailment} depuis {day}.

# health/tablets
{person} takes {hour} tablets before {meal}.
{person} nimmt vor dem {meal} {hour} Tabletten.
{person} toma {hour} pastillas antes {meal.1}.
{person} prend {hour} comprimés avant {meal}.
"""
