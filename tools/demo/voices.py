"""The voices of the demo: espeak-ng's accents by language, its variants for training, and those held out."""

from __future__ import annotations

# Voice files below espeak-ng-data/lang; the more common accents come first and are drawn more often.
ACCENTS = {
    "en": ("gmw/en-US", "gmw/en", "gmw/en-GB-x-rp"),
    "de": ("gmw/de",),
    "es": ("roa/es", "roa/es-419"),
    "fr": ("roa/fr", "roa/fr-BE", "roa/fr-CH"),
}

# Files below espeak-ng-data/voices/!v. The first three of those never used in training are ordinary voices, the
# others named presets, which sound less like a person.
HELD_OUT_ORDINARY = ("m5", "f3", "linda")
HELD_OUT_PRESETS = ("Marco", "Alicia", "Denis")
HELD_OUT = HELD_OUT_ORDINARY + HELD_OUT_PRESETS


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TRAINING = _names("""
    Alex Andrea Andy Annie AnxiousAndy Diogo Gene Gene2 Henrique Hugo Jacky Lee Mario Michael Mike Storm Tweaky
    adam anika announcer antonio aunty belinda benjamin boris caleb david ed edward edward2 f1 f2 f4 f5 fast
    grandma grandpa gustave iven iven2 iven3 iven4 john kaukovalta klatt klatt2 klatt3 klatt4 klatt5 klatt6
    m1 m2 m3 m4 m6 m7 m8 marcelo max michel miguel norbert pablo paul pedro quincy rob robert robosoft robosoft2
    robosoft3 robosoft4 robosoft5 sandro shelby steph steph2 steph3 travis victor zac
""")

# The plain variants, which differ least from each other: the sample clips' voices.
PLAIN = _names("f1 f2 f4 f5 m1 m2 m3 m4 m6 m7 m8 adam anika antonio belinda david ed john paul rob steph victor")
