"""Code blocks of a Markdown page, and what stands behind them as their output."""

import os
import re
import subprocess
import sys

import pytest

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
NUMBER = re.compile(r"-?\d+\.\d+(?:[eE][-+]?\d+)?")


def blocks(page):
    """The page's fenced blocks: (language, text), in order; an indented fence is none, for a prompt refuses it."""
    return FENCE.findall(page)


def program(page):
    """The page's Python blocks as one program that marks where the output of each begins."""
    parts = [text for language, text in blocks(page) if language == "python"]
    return "\n".join(f"print({mark(number)!r})\n{text}" for number, text in enumerate(parts))


def mark(number):
    return f"-- block {number}"


def printed(output, number):
    """What one block of the program printed."""
    after = output.split(mark(number) + "\n", 1)[1]
    return after.split(f"-- block {number + 1}\n", 1)[0]


def promised(page):
    """For each Python block: the text block right behind it, or the comments behind its prints; None: neither."""
    promises, found = [], blocks(page)
    for number, (language, text) in enumerate(found):
        if language == "python":
            behind = found[number + 1] if number + 1 < len(found) else ("", "")
            said = re.findall(r"^print\(.*\)\s+# (.+)$", text, re.M)
            promises.append(behind[1] if behind[0] == "text" else "\n".join(said) or None)
    return promises


def words(text):
    """The words of an output, and its decimal numbers apart, which another machine may round differently."""
    return NUMBER.sub("#", text).split(), [float(number) for number in NUMBER.findall(text)]


def check_page(page, folder, **environment):
    """A page's Python blocks run in a fresh interpreter, in this folder, and print what the page says."""
    conditions = os.environ | {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", program(page)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=conditions)
    assert done.returncode == 0, done.stderr
    for number, promise in enumerate(promised(page)):
        if promise is not None:
            (ours, numbers), (said, their) = words(printed(done.stdout, number)), words(promise)
            assert ours == said
            assert numbers == pytest.approx(their, rel=0.02, abs=0.002)
