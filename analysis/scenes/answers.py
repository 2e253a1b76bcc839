"""Marking replies: whether a reply gives the answer, and by how much a count is wrong."""

from __future__ import annotations

import re
import unicodedata

import pandas as pd

from analysis.statistics.frames import checked

COUNTING_KINDS = ("how-many", "how-many-of")  # of questions
NUMBERS = "zero one two three four five six seven eight nine".split()
WORD = r"(?<!\w)-\d+(?:\.\d+)?|\d+\.\d+|[^\W_]+"  # a number with its sign and decimals is one word


def is_right(reply: str, answer: str) -> bool:
    """Whether a reply holds the answer's words side by side, whatever the case, punctuation and spelling of numbers.

    The minus sign and the decimals of a number are no punctuation.

    Args:
        reply: What the model said, in any script.
        answer: The right answer.

    Raises:
        ValueError: One of them is no text, or the answer has no words to look for.

    >>> is_right("It is in the Top Left.", "top-left"), is_right("17", "7"), is_right("There are 4.", "four")
    (True, False, True)
    """
    said, wanted = (_words(text) for text in (reply, answer))
    if not wanted:
        raise ValueError(f"an answer must have a letter or a digit; got {answer!r}.")
    return f" {' '.join(wanted)} " in f" {' '.join(said)} "


def _words(text: str) -> list[str]:
    """The words of a text without regard to case and way of writing, numbers in digits."""
    if not isinstance(text, str):
        raise ValueError(f"a reply or answer must be a text; got {text!r}.")
    words = re.findall(WORD, unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-"))
    return [str(NUMBERS.index(word)) if word in NUMBERS else word for word in words]


def _number(text: str) -> float:
    """The first number in a text, NaN if there is none."""
    return next((float(word) for word in _words(text) if word.isdecimal()), float("nan"))


def miscount(answers: pd.DataFrame) -> pd.DataFrame:
    """The error of replies to questions of COUNTING_KINDS, in digits; replies without a number are left out.

    Args:
        answers: The frame of `analysis.accuracy`.

    Returns:
        The rows of counting questions, with the column too_many: the number in the reply minus the right one.

    Raises:
        ValueError: The frame is empty or lacks a column.

    >>> replies = {"kind": "how-many", "reply": ["There are Six.", "3", "many"], "answer": "four"}
    >>> miscount(pd.DataFrame(replies)).too_many.tolist()
    [2.0, -1.0]
    """
    plain = checked(answers, "answers", {"kind": "label", "reply": "text", "answer": "text"})
    said, right = (plain[name].map(_number).astype(float) for name in ("reply", "answer"))
    counted = answers.assign(too_many=(said - right).to_numpy())[plain.kind.isin(COUNTING_KINDS).to_numpy()]
    return counted.dropna(subset="too_many")
