"""Small text models with a tokenizer of bytes, as `analysis.load` would give them."""

from functools import cache

from analysis.models.text import LoadedText
from tests.support import zoo
from tests.support.zoo_words import tokenizer

TEXTS = ["In Rome Ben sold a hat.", "Ben left.", "Nobody was surprised: it rained all day."]
QUESTIONS = ["Again: In Rome Ben sold a", "Ben", "Nobody was"]


@cache
def text_model(name="llama"):
    words = tokenizer(name)
    words.padding_side = "left"
    return LoadedText(name, zoo.model(name), words)
