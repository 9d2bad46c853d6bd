"""The tables of the demo grammar: ready-inflected words and phrases, one row per meaning.

A row is `English / German / Spanish / French`. Forms of one entry are separated by `|`; `+1` behind an entry
tells which form its neighbours take (see `grammar`). A row without a slash stands for all four languages.
"""

from __future__ import annotations

# person: the German forms are nominative, accusative and dative. place: nominative, from, to, dative. animals and
# clothes ask for the plural, masculine (2) or feminine (3); animal and article for the singular (0 and 1).
_TEXT = """
person
my mother / meine Mutter|meine Mutter|meiner Mutter / mi madre / ma mère
my father / mein Vater|meinen Vater|meinem Vater / mi padre / mon père
my sister / meine Schwester|meine Schwester|meiner Schwester / mi hermana / ma sœur
my brother / mein Bruder|meinen Bruder|meinem Bruder / mi hermano / mon frère
my uncle / mein Onkel|meinen Onkel|meinem Onkel / mi tío / mon oncle
my aunt / meine Tante|meine Tante|meiner Tante / mi tía / ma tante
my grandmother / meine Großmutter|meine Großmutter|meiner Großmutter / mi abuela / ma grand-mère
my friend / mein Freund|meinen Freund|meinem Freund / mi amigo / mon ami
our teacher / unsere Lehrerin|unsere Lehrerin|unserer Lehrerin / nuestra profesora / notre professeure
our doctor / unser Arzt|unseren Arzt|unserem Arzt / nuestro médico / notre médecin
Anna
Paul
Maria
Peter
Clara
Martin
Julia
David

name
Anna
Paul
Maria
Peter
Clara
Martin
Julia
David
Sofia
Thomas

day
Monday / Montag / el lunes|del lunes / lundi
Tuesday / Dienstag / el martes|del martes / mardi
Wednesday / Mittwoch / el miércoles|del miércoles / mercredi
Thursday / Donnerstag / el jueves|del jueves / jeudi
Friday / Freitag / el viernes|del viernes / vendredi
Saturday / Samstag / el sábado|del sábado / samedi
Sunday / Sonntag / el domingo|del domingo / dimanche

hour
two / zwei / dos / deux
three / drei / tres / trois
four / vier / cuatro / quatre
five / fünf / cinco / cinq
six / sechs / seis / six
seven / sieben / siete / sept
eight / acht / ocho / huit
nine / neun / nueve / neuf
ten / zehn / diez / dix
eleven / elf / once / onze
twelve / zwölf / doce / douze

digit
zero / null / cero / zéro
one / eins / uno / un
two / zwei / dos / deux
three / drei / tres / trois
four / vier / cuatro / quatre
five / fünf / cinco / cinq
six / sechs / seis / six
seven / sieben / siete / sept
eight / acht / ocho / huit
nine / neun / nueve / neuf

number
two / zwei / dos / deux
three / drei / tres / trois
four / vier / cuatro / quatre
five / fünf / cinco / cinq
six / sechs / seis / six
seven / sieben / siete / sept
eight / acht / ocho / huit
nine / neun / nueve / neuf
ten / zehn / diez / dix
eleven / elf / once / onze
twelve / zwölf / doce / douze
thirteen / dreizehn / trece / treize
fourteen / vierzehn / catorce / quatorze
fifteen / fünfzehn / quince / quinze
sixteen / sechzehn / dieciséis / seize
seventeen / siebzehn / diecisiete / dix-sept
eighteen / achtzehn / dieciocho / dix-huit
nineteen / neunzehn / diecinueve / dix-neuf
twenty / zwanzig / veinte / vingt
thirty / dreißig / treinta / trente
forty / vierzig / cuarenta / quarante
fifty / fünfzig / cincuenta / cinquante
sixty / sechzig / sesenta / soixante
seventy / siebzig / setenta / soixante-dix
ninety / neunzig / noventa / quatre-vingt-dix

ordinal
first / ersten / primer / premier
second / zweiten / segundo / deuxième
third / dritten / tercer / troisième
fourth / vierten / cuarto / quatrième
fifth / fünften / quinto / cinquième
last / letzten / último / dernier

operation
plus / plus / más / plus
minus / minus / menos / moins
times / mal / por / fois

room
kitchen / in der Küche|von der Küche / la cocina / la cuisine
bedroom / im Schlafzimmer|vom Schlafzimmer / el dormitorio / la chambre
bathroom / im Badezimmer|vom Badezimmer / el baño / la salle de bain
living room / im Wohnzimmer|vom Wohnzimmer / el salón / le salon
garage / in der Garage|von der Garage / el garaje / le garage
office / im Büro|vom Büro / la oficina / le bureau
hall / im Flur|vom Flur / el pasillo / le couloir
garden / im Garten|vom Garten / el jardín / le jardin

switch
on / ein / enciende / allume
off / aus / apaga / éteins

device
light / das Licht / la luz / la lumière
lamp / die Lampe / la lámpara / la lampe
heating / die Heizung / la calefacción / le chauffage
radio / das Radio / la radio / la radio
television / den Fernseher / el televisor / la télévision
fan / den Ventilator / el ventilador / le ventilateur
computer / den Computer / el ordenador / l'ordinateur
music / die Musik / la música / la musique

opening
open / öffne / abre / ouvre
close / schließe / cierra / ferme

closed
window / das Fenster / la ventana / la fenêtre
door / die Tür / la puerta / la porte
cupboard / den Schrank / el armario / le placard
drawer / die Schublade / el cajón / le tiroir
curtain / den Vorhang / la cortina / le rideau
box / die Kiste / la caja / la boîte

event
meeting / die Sitzung / la reunión / la réunion
concert / das Konzert / el concierto / le concert
film / der Film / la película / le film
party / das Fest / la fiesta / la fête
lesson / der Unterricht / la clase / le cours
match / das Spiel / el partido / le match

unit
minutes / Minuten / minutos / minutes
seconds / Sekunden / segundos / secondes

city
Rome / Rom / Roma / Rome
Paris / Paris / París / Paris
Berlin / Berlin / Berlín / Berlin
Madrid
London / London / Londres / Londres
Vienna / Wien / Viena / Vienne
Geneva / Genf / Ginebra / Genève
Lisbon / Lissabon / Lisboa / Lisbonne
Hamburg / Hamburg / Hamburgo / Hambourg
Moscow / Moskau / Moscú / Moscou

climate
be cold / kalt / hará frío / fera froid
be warm / warm / hará calor / fera chaud
be windy / windig / hará viento / fera du vent
rain / regnen / lloverá / va pleuvoir
snow / schneien / nevará / va neiger

sky
it is raining / es regnet / llueve / il pleut
it is snowing / es schneit / nieva / il neige
the sun is shining / die Sonne scheint / hace sol / le soleil brille
the wind is strong / der Wind ist stark / el viento es fuerte / le vent est fort

transport
by train / mit dem Zug / en tren / en train
by bus / mit dem Bus / en autobús / en bus
by car / mit dem Auto / en coche / en voiture
by ship / mit dem Schiff / en barco / en bateau
by plane / mit dem Flugzeug / en avión / en avion

colour
red / rote / rojo|roja|rojos|rojas / rouge|rouge|rouges|rouges
blue / blaue / azul|azul|azules|azules / bleu|bleue|bleus|bleues
green / grüne / verde|verde|verdes|verdes / vert|verte|verts|vertes
yellow / gelbe / amarillo|amarilla|amarillos|amarillas / jaune|jaune|jaunes|jaunes
black / schwarze / negro|negra|negros|negras / noir|noire|noirs|noires
white / weiße / blanco|blanca|blancos|blancas / blanc|blanche|blancs|blanches
grey / graue / gris|gris|grises|grises / gris|grise|gris|grises
brown / braune / marrón|marrón|marrones|marrones / brun|brune|bruns|brunes

animals
cats / Katzen / gatos+2 / chats+2
dogs / Hunde / perros+2 / chiens+2
horses / Pferde / caballos+2 / chevaux+2
cows / Kühe / vacas+3 / vaches+3
birds / Vögel / pájaros+2 / oiseaux+2
rabbits / Kaninchen / conejos+2 / lapins+2
sheep / Schafe / ovejas+3 / moutons+2
ducks / Enten / patos+2 / canards+2
mice / Mäuse / ratones+2 / souris+3
chickens / Hühner / gallinas+3 / poules+3

animal
cat / die|Katze / el gato / le chat
dog / der|Hund / el perro / le chien
horse / das|Pferd / el caballo / le cheval
cow / die|Kuh / la vaca+1 / la vache+1
bird / der|Vogel / el pájaro / l'oiseau
rabbit / das|Kaninchen / el conejo / le lapin
sheep / das|Schaf / la oveja+1 / le mouton
duck / die|Ente / el pato / le canard
mouse / die|Maus / el ratón / la souris+1

spot
under the table / unter dem Tisch / debajo de la mesa / sous la table
on the sofa / auf dem Sofa / en el sofá / sur le canapé
behind the door / hinter der Tür / detrás de la puerta / derrière la porte
in front of the house / vor dem Haus / delante de la casa / devant la maison
next to the tree / neben dem Baum / al lado del árbol / à côté de l'arbre
under the bed / unter dem Bett / debajo de la cama / sous le lit
near the river / am Fluss / cerca del río / près de la rivière

doing
is sleeping / schläft / duerme / dort
is waiting / wartet / espera / attend
is eating / frisst / come / mange

nature
garden / im Garten / el jardín / le jardin
forest / im Wald / el bosque / la forêt
park / im Park / el parque / le parc
field / auf dem Feld / el campo / le champ
street / auf der Straße / la calle / la rue
river / im Fluss / el río / la rivière

clothes
shirts / Hemden / camisas+3 / chemises+3
jackets / Jacken / chaquetas+3 / vestes+3
hats / Hüte / sombreros+2 / chapeaux+2
shoes / Schuhe / zapatos+2 / chaussures+3
chairs / Stühle / sillas+3 / chaises+3
cups / Tassen / tazas+3 / tasses+3
plates / Teller / platos+2 / assiettes+3
books / Bücher / libros+2 / livres+2
flowers / Blumen / flores+3 / fleurs+3
pencils / Bleistifte / lápices+2 / crayons+2

article
shirt / das|Hemd / la camisa+1 / la chemise+1
jacket / die|Jacke / la chaqueta+1 / la veste+1
hat / der|Hut / el sombrero / le chapeau
chair / der|Stuhl / la silla+1 / la chaise+1
cup / die|Tasse / la taza+1 / la tasse+1
plate / der|Teller / el plato / l'assiette+1
table / der|Tisch / la mesa+1 / la table+1
bag / die|Tasche / el bolso / le sac

gift
a book / ein Buch / un libro / un livre
a watch / eine Uhr / un reloj / une montre
a ring / einen Ring / un anillo / une bague
a bicycle / ein Fahrrad / una bicicleta / un vélo
a picture / ein Bild / un cuadro / un tableau
a telephone / ein Telefon / un teléfono / un téléphone
a coat / einen Mantel / un abrigo / un manteau
an umbrella / einen Regenschirm / un paraguas / un parapluie

food
ham / Schinken / jamón / du jambon|de jambon|le jambon
bread / Brot / pan / du pain|de pain|le pain
cheese / Käse / queso / du fromage|de fromage|le fromage
butter / Butter / mantequilla / du beurre|de beurre|le beurre
soup / Suppe / sopa / de la soupe|de soupe|la soupe
rice / Reis / arroz / du riz|de riz|le riz
fish / Fisch / pescado / du poisson|de poisson|le poisson
meat / Fleisch / carne / de la viande|de viande|la viande
salad / Salat / ensalada / de la salade|de salade|la salade
potatoes / Kartoffeln / patatas / des pommes de terre|de pommes de terre|les pommes de terre
tomatoes / Tomaten / tomates / des tomates|de tomates|les tomates
apples / Äpfel / manzanas / des pommes|de pommes|les pommes
eggs / Eier / huevos / des œufs|d'œufs|les œufs
honey / Honig / miel / du miel|de miel|le miel
chocolate / Schokolade / chocolate / du chocolat|de chocolat|le chocolat
sugar / Zucker / azúcar / du sucre|de sucre|le sucre

meal
breakfast / Frühstück / el desayuno|del desayuno / le petit déjeuner
lunch / Mittagessen / el almuerzo|del almuerzo / le déjeuner
dinner / Abendessen / la cena|de la cena / le dîner

task
write the report / den Bericht schreiben / escribir el informe / écrire le rapport
repair the car / das Auto reparieren / reparar el coche / réparer la voiture
wash the dishes / das Geschirr spülen / lavar los platos / laver la vaisselle
clean the windows / die Fenster putzen / limpiar las ventanas / nettoyer les fenêtres
paint the wall / die Wand streichen / pintar la pared / peindre le mur
pay the bill / die Rechnung bezahlen / pagar la cuenta / payer la facture
find the key / den Schlüssel finden / encontrar la llave / trouver la clé
sell the house / das Haus verkaufen / vender la casa / vendre la maison

workplace
a hospital / in einem Krankenhaus / un hospital / un hôpital
a school / in einer Schule / una escuela / une école
a bank / in einer Bank / un banco / une banque
a factory / in einer Fabrik / una fábrica / une usine
a restaurant / in einem Restaurant / un restaurante / un restaurant
a library / in einer Bibliothek / una biblioteca / une bibliothèque
a hotel / in einem Hotel / un hotel / un hôtel

message
a message / eine Nachricht / un mensaje / un message
a photo / ein Foto / una foto / une photo
a letter / einen Brief / una carta / une lettre

ailment
a headache / Kopfschmerzen / dolor de cabeza / mal à la tête
a toothache / Zahnschmerzen / dolor de muelas / mal aux dents
a fever / Fieber / fiebre / de la fièvre
a cold / eine Erkältung / un resfriado / un rhume
a backache / Rückenschmerzen / dolor de espalda / mal au dos
a sore throat / Halsschmerzen / dolor de garganta / mal à la gorge

subject
history / Geschichte / historia / l'histoire
music / Musik / música / la musique
mathematics / Mathematik / matemáticas / les mathématiques
biology / Biologie / biología / la biologie
chemistry / Chemie / química / la chimie
geography / Erdkunde / geografía / la géographie
drawing / Zeichnen / dibujo / le dessin

hobby
plays tennis / Tennis / juega al tenis / joue au tennis
plays football / Fußball / juega al fútbol / joue au football
plays chess / Schach / juega al ajedrez / joue aux échecs
plays the piano / Klavier / toca el piano / joue du piano
plays the guitar / Gitarre / toca la guitarra / joue de la guitare

place
station / der Bahnhof|vom Bahnhof|zum Bahnhof|dem Bahnhof / la estación|de la estación|a la estación / la gare|de la gare|à la gare
museum / das Museum|vom Museum|zum Museum|dem Museum / el museo|del museo|al museo / le musée|du musée|au musée
church / die Kirche|von der Kirche|zur Kirche|der Kirche / la iglesia|de la iglesia|a la iglesia / l'église|de l'église|à l'église
market / der Markt|vom Markt|zum Markt|dem Markt / el mercado|del mercado|al mercado / le marché|du marché|au marché
airport / der Flughafen|vom Flughafen|zum Flughafen|dem Flughafen / el aeropuerto|del aeropuerto|al aeropuerto / l'aéroport|de l'aéroport|à l'aéroport
hospital / das Krankenhaus|vom Krankenhaus|zum Krankenhaus|dem Krankenhaus / el hospital|del hospital|al hospital / l'hôpital|de l'hôpital|à l'hôpital
theatre / das Theater|vom Theater|zum Theater|dem Theater / el teatro|del teatro|al teatro / le théâtre|du théâtre|au théâtre
school / die Schule|von der Schule|zur Schule|der Schule / la escuela|de la escuela|a la escuela / l'école|de l'école|à l'école
bakery / die Bäckerei|von der Bäckerei|zur Bäckerei|der Bäckerei / la panadería|de la panadería|a la panadería / la boulangerie|de la boulangerie|à la boulangerie
bridge / die Brücke|von der Brücke|zur Brücke|der Brücke / el puente|del puente|al puente / le pont|du pont|au pont

beside
next to / neben / al lado / à côté+1
opposite / gegenüber / enfrente / en face+1
behind / hinter / detrás / derrière
in front of / vor / delante / devant
"""  # noqa: E501


def _entry(text: str) -> tuple[tuple[str, ...], int]:
    words, _, wanted = text.strip().partition("+")
    return tuple(words.split("|")), int(wanted or 0)


def _row(line: str) -> tuple[tuple[tuple[str, ...], int], ...]:
    entries = line.split(" / ") if "/" in line else [line] * 4
    if len(entries) != 4:
        raise ValueError(f"a row needs four entries: {line}")
    return tuple(_entry(entry) for entry in entries)


def _tables(text: str) -> dict[str, list[tuple[tuple[tuple[str, ...], int], ...]]]:
    blocks = (block.strip("\n").splitlines() for block in text.strip().split("\n\n"))
    return {name: [_row(line) for line in rows] for name, *rows in blocks}


TABLES = _tables(_TEXT)
