"""Templates of weather, travel, work, school and city; `grammar` tells how to read them."""

CITY = """
# weather/question
Will it {climate} in {city} on {day}?
Wird es am {day} in {city} {climate}?
¿{climate} en {city} {day}?
Est-ce qu'il {climate} à {city} {day}?

# weather/now
It is {number} degrees in {city} and {sky}.
In {city} sind es {number} Grad und {sky}.
En {city} hay {number} grados y {sky}.
À {city} il fait {number} degrés et {sky}.

# travel/train
The train to {city} leaves from platform {hour:b} at {hour} o'clock.
Der Zug nach {city} fährt um {hour} Uhr von Gleis {hour:b} ab.
El tren a {city} sale a las {hour} de la vía {hour:b}.
Le train pour {city} part à {hour} heures du quai {hour:b}.

# travel/ticket
I would like {number} tickets to {city} for {day}, please.
Ich möchte bitte {number} Fahrkarten nach {city} für {day}.
Quisiera {number} billetes a {city} para {day}, por favor.
Je voudrais {number} billets pour {city} pour {day}, s'il vous plaît.

# travel/trip
{person} is going to {city} {transport} on {day}.
{person} fährt am {day} {transport} nach {city}.
{person} va a {city} {transport} {day}.
{person} va à {city} {transport} {day}.

# travel/way
How do I get {transport} from the {place} to the {place:b}?
Wie komme ich {transport} {place.1} {place:b.2}?
¿Cómo voy {transport} {place.1} {place:b.2}?
Comment aller {transport} {place.1} {place:b.2}?

# city/beside
The {place} is {beside} the {place:b}.
{place} ist {beside} {place:b.3}.
{place} está {beside} {place:b.1}.
{place} est {beside} {place:b~beside}.

# city/hours
The {place} opens at {hour} o'clock on {day}.
{place} öffnet am {day} um {hour} Uhr.
{place} abre {day} a las {hour}.
{place} ouvre {day} à {hour} heures.

# work/task
{person} must {task} before {day}.
{person} muss vor {day} {task}.
{person} tiene que {task} antes {day.1}.
{person} doit {task} avant {day}.

# work/place
{person} works in {workplace} in {city}.
{person} arbeitet {workplace} in {city}.
{person} trabaja en {workplace} en {city}.
{person} travaille dans {workplace} à {city}.

# work/message
Send {person} {message} at {hour} o'clock.
Schicke {person.2} um {hour} Uhr {message}.
Envía {message} a {person} a las {hour}.
Envoie {message} à {person} à {hour} heures.

# school/subject
On {day} we learn {subject} with {person}.
Am {day} lernen wir {subject} mit {person.2}.
{day} aprendemos {subject} con {person}.
{day} nous apprenons {subject} avec {person}.

# school/page
Read page {number} of the {ordinal} book, {name}.
Lies Seite {number} im {ordinal} Buch, {name}.
Lee la página {number} del {ordinal} libro, {name}.
Lis la page {number} du {ordinal} livre, {name}.

# leisure/hobby
{person} {hobby} with {person:b} on {day}.
{person} spielt am {day} mit {person:b.2} {hobby}.
{person} {hobby} con {person:b} {day}.
{person} {hobby} avec {person:b} {day}.
"""
