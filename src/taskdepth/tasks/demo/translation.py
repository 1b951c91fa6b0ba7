"""Cluster translation: simple present-tense sentences in English and five other languages."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from taskdepth.tasks.demo.english import capital
from taskdepth.tasks.demo.task import Draw, classification, generation

CLUSTER = "translation"
LANGUAGES = ("English", "French", "German", "Spanish", "Italian", "Dutch")

# one row per meaning, one column per language
_NOUNS = """
the dog    | le chien   | der Hund    | el perro   | il cane    | de hond
the cat    | le chat    | die Katze   | el gato    | il gatto   | de kat
the horse  | le cheval  | das Pferd   | el caballo | il cavallo | het paard
the cow    | la vache   | die Kuh     | la vaca    | la mucca   | de koe
the man    | l'homme    | der Mann    | el hombre  | l'uomo     | de man
the woman  | la femme   | die Frau    | la mujer   | la donna   | de vrouw
the boy    | le garçon  | der Junge   | el niño    | il ragazzo | de jongen
the girl   | la fille   | das Mädchen | la niña    | la ragazza | het meisje
the king   | le roi     | der König   | el rey     | il re      | de koning
the queen  | la reine   | die Königin | la reina   | la regina  | de koningin
the father | le père    | der Vater   | el padre   | il padre   | de vader
the mother | la mère    | die Mutter  | la madre   | la madre   | de moeder
"""
_VERBS = """
sleeps | dort   | schläft | duerme | dorme   | slaapt
plays  | joue   | spielt  | juega  | gioca   | speelt
waits  | attend | wartet  | espera | aspetta | wacht
runs   | court  | rennt   | corre  | corre   | rent
drinks | boit   | trinkt  | bebe   | beve    | drinkt
lives  | vit    | lebt    | vive   | vive    | woont
"""
_PLACES = """
in the garden  | dans le jardin  | im Garten      | en el jardín  | nel giardino | in de tuin
in the house   | dans la maison  | im Haus        | en la casa    | nella casa   | in het huis
in the kitchen | dans la cuisine | in der Küche   | en la cocina  | in cucina    | in de keuken
in the park    | dans le parc    | im Park        | en el parque  | nel parco    | in het park
in the school  | dans l'école    | in der Schule  | en la escuela | nella scuola | in de school
in the forest  | dans la forêt   | im Wald        | en el bosque  | nel bosco    | in het bos
in the village | dans le village | im Dorf        | en el pueblo  | nel villaggio | in het dorp
"""
# masculine/feminine where they differ
_STATES = """
is big | est grand/est grande | ist groß | es grande | è grande | is groot
is small | est petit/est petite | ist klein | es pequeño/es pequeña | è piccolo/è piccola | is klein
is young | est jeune | ist jung | es joven | è giovane | is jong
is old | est vieux/est vieille | ist alt | es viejo/es vieja | è vecchio/è vecchia | is oud
is rich | est riche | ist reich | es rico/es rica | è ricco/è ricca | is rijk
is strong | est fort/est forte | ist stark | es fuerte | è forte | is sterk
is ill | est malade | ist krank | está enfermo/está enferma | è malato/è malata | is ziek
is hungry | a faim | hat Hunger | tiene hambre | ha fame | heeft honger
"""
_AND = dict(zip(LANGUAGES, ("and", "et", "und", "y", "e", "en"), strict=True))


def _rows(table: str) -> tuple[dict[str, str], ...]:
    """Each row of `table` as language: words."""
    return tuple(
        dict(zip(LANGUAGES, (cell.strip() for cell in line.split("|")), strict=True))
        for line in table.strip().splitlines()
    )


NOUN_ROWS, VERB_ROWS, PLACE_ROWS, STATE_ROWS = map(_rows, (_NOUNS, _VERBS, _PLACES, _STATES))


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a sentence says, in no language: who, in which state, does what and where."""

    noun: int
    state: int | None
    verb: int
    place: int

    def sentence(self, language: str) -> str:
        noun = NOUN_ROWS[self.noun][language]
        words = [noun]
        if self.state is not None:
            # the one feminine article of French, Spanish and Italian; the l' nouns are masculine
            forms = STATE_ROWS[self.state][language].split("/")
            words += [forms[-1 if noun.startswith("la ") else 0], _AND[language]]
        words += [VERB_ROWS[self.verb][language], PLACE_ROWS[self.place][language]]
        return f"{capital(' '.join(words))}."


def meaning(rng: Random) -> Meaning:
    return Meaning(
        noun=rng.randrange(len(NOUN_ROWS)),
        state=rng.randrange(len(STATE_ROWS)) if rng.random() < 0.4 else None,
        verb=rng.randrange(len(VERB_ROWS)),
        place=rng.randrange(len(PLACE_ROWS)),
    )


def translate(rng: Random, source: str, target: str) -> Draw:
    said = meaning(rng)
    return Draw({"sentence": said.sentence(source)}, target=said.sentence(target))


def translation_match(rng: Random, label: str) -> Draw:
    """A wrong translation differs in the noun, the verb or the place."""
    language, said = rng.choice(LANGUAGES[1:]), meaning(rng)
    heard = said
    if label == "no":
        other = meaning(rng)
        noun, verb, place = rng.choice(
            (
                (other.noun, said.verb, said.place),
                (said.noun, other.verb, said.place),
                (said.noun, said.verb, other.place),
            )
        )
        heard = Meaning(noun, said.state, verb, place)
        if heard == said:
            return translation_match(rng, label)
    return Draw(
        {
            "language": language,
            "foreign": heard.sentence(language),
            "sentence": said.sentence("English"),
        },
        key=(language, said.sentence("English")),
    )


TASKS = (
    generation(
        "demo_english_french",
        CLUSTER,
        lambda rng: translate(rng, "English", "French"),
        (
            "Translate into French: {sentence}",
            "{sentence}\nHow do you say that in French?",
            "English: {sentence}\nFrench:",
        ),
    ),
    generation(
        "demo_english_german",
        CLUSTER,
        lambda rng: translate(rng, "English", "German"),
        (
            "Translate into German: {sentence}",
            "Please put this into German. {sentence}",
            "English: {sentence}\nGerman:",
        ),
    ),
    generation(
        "demo_spanish_english",
        CLUSTER,
        lambda rng: translate(rng, "Spanish", "English"),
        (
            "Translate from Spanish into English: {sentence}",
            "{sentence}\nWhat does this mean in English?",
            "Spanish: {sentence}\nEnglish:",
        ),
    ),
    generation(
        "demo_italian_english",
        CLUSTER,
        lambda rng: translate(rng, "Italian", "English"),
        (
            "Translate from Italian into English: {sentence}",
            "A friend from Rome says: {sentence} Say it in English.",
            "Italian: {sentence}\nEnglish:",
        ),
    ),
    classification(
        "demo_translation_match",
        CLUSTER,
        ("no", "yes"),
        translation_match,
        (
            "{language}: {foreign}\nEnglish: {sentence}\nDo these match?\nOptions: {options}",
            'Does the {language} sentence "{foreign}" mean "{sentence}"?',
            "{foreign}\n{sentence}\nDo both say the same?\nOptions: {options}",
        ),
    ),
)
