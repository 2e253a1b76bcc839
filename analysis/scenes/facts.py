"""Facts in words: texts whose questions, answers and relevant words are known, for models that read text alone.

A text is some facts in different sentences, with sentences that say nothing between some of them, so that facts have no
common length and no common places. A question says one of the facts again, up to the object, which is the answer: a
small pretrained language model can do that (the embedded studies' SmolLM2 gets some 85 % right at eight facts), because
no two facts of a text share a person, a city, a colour or an object.

Everything is a function of (seed, index): text 7 is the same text however many are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter

import numpy as np

from v2drop.arguments import seed_number, whole_number

NAMES = "Anna Ben Clara David Emma Frank Grace Henry Laura Martin Nina Oscar Peter Robert Sarah Thomas".split()
CITIES = "Paris London Rome Madrid Berlin Vienna Tokyo Boston Chicago Dublin Prague Moscow Cairo Sydney".split()
COLOURS = "red blue green white black yellow pink brown purple orange golden silver".split()
OBJECTS = "lamp book chair table clock piano car boat hat coat phone bike camera guitar mirror ring watch bag".split()
SENTENCES = {  # kind of question -> the fact's sentence; the object is asked for
    "sold-in": "In {city} {name} sold the {colour} {object}.",
    "went-to": "Early that week {name} went to {city} and sold the {colour} {object}.",
    "sold": "{name} sold the {colour} {object} in {city}.",
    "lost": "On the way to {city}, {name} lost a {colour} {object}.",
    "took": "{name} from {city} took the {colour} {object} home.",
    "there-was": "There was a {colour} {object} in {city}, and {name} sold it.",
}
FACT_KINDS = tuple(SENTENCES)
FILLERS = (
    "It rained all afternoon.",
    "Nobody was surprised.",
    "The streets were quiet.",
    "The trains ran late again.",
    "Lunch was served at noon, and everyone was glad of it.",
    "That is all.",
)
N_FACTS = (4, 5, 6, 7, 8)
FILLED = 0.5  # probability of a filler before a fact and behind the last

Span = tuple[int, int]  # first character and the one behind the last


@dataclass(frozen=True)
class TextScene:
    """A text and where its facts are.

    Attributes:
        text: What the question is asked about.
        facts: The words of every fact: name, city, colour, object and the kind of its sentence.
        spans: Where these words stand in the text, in the same order (without the kind).
    """

    text: str
    facts: tuple[dict[str, str], ...] = ()
    spans: tuple[dict[str, Span], ...] = ()


@dataclass(frozen=True)
class TextQuestion:
    """A question about a text, with its answer and the characters one has to read to answer it.

    Attributes:
        kind: One of FACT_KINDS, that of the fact asked about.
        text: The question: the fact up to the answer.
        answer: The answer, one word.
        relevant: Spans of characters of the text: the fact's words that the question holds, and the answer.
        objects: Spans of all facts' words.
        second: The span of the answer, which one looks for after the words of the question are found.
    """

    kind: str
    text: str
    answer: str
    relevant: tuple[Span, ...] = ()
    objects: tuple[Span, ...] = ()
    second: tuple[Span, ...] = ()


TextQuestions = list[tuple[TextScene, TextQuestion]]


def text_scene(seed: int, index: int) -> TextScene:
    """One text; the same arguments give the same text.

    Args:
        seed: The seed of the data set.
        index: The text's number in it.

    Raises:
        ValueError: `seed` or `index` is no int of 0 or more.
    """
    rng = np.random.default_rng([3, seed_number(seed), whole_number("index", index, 0)])  # scenes begin with 0 to 2
    n = int(rng.choice(N_FACTS))
    words = zip(*(rng.permutation(each)[:n].tolist() for each in (NAMES, CITIES, COLOURS, OBJECTS)), strict=True)
    facts = [dict(zip(("name", "city", "colour", "object"), fact, strict=True)) for fact in words]
    text, spans = "", []
    for fact in facts:
        text += _filler(rng)
        fact["kind"] = str(rng.choice(FACT_KINDS))
        where = {}
        for between, key, _, _ in Formatter().parse(SENTENCES[fact["kind"]]):
            text += between
            if key:
                where[key] = len(text), len(text) + len(fact[key])
                text += fact[key]
        spans.append(where)
        text += " "
    return TextScene((text + _filler(rng)).rstrip(), tuple(facts), tuple(spans))


def text_sample(n: int, seed: int = 0) -> TextQuestions:
    """The first `n` texts of a data set with one question each.

    Args:
        n: The number of texts.
        seed: The seed of the data set.

    Raises:
        ValueError: `n` or `seed` is no int of 0 or more.
    """
    n, seed = whole_number("n", n, 0), seed_number(seed)
    drawn = [text_scene(seed, index) for index in range(n)]
    return [(scene, _question(scene, np.random.default_rng([4, seed, i]))) for i, scene in enumerate(drawn)]


def _question(scene: TextScene, rng: np.random.Generator) -> TextQuestion:
    number = int(rng.integers(len(scene.facts)))
    fact, spans = scene.facts[number], scene.spans[number]
    asked = SENTENCES[fact["kind"]].partition("{object}")[0]
    named = [key for key in ("name", "city", "colour") if f"{{{key}}}" in asked]
    return TextQuestion(
        fact["kind"],
        f"Again: {asked.format(**fact).rstrip()}",
        fact["object"],
        tuple(sorted(spans[key] for key in [*named, "object"])),
        tuple(sorted(span for each in scene.spans for span in each.values())),
        (spans["object"],),
    )


def _filler(rng: np.random.Generator) -> str:
    return f"{rng.choice(FILLERS)} " if rng.random() < FILLED else ""
