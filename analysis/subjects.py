"""The models that recorded studies ask, what they ask them, and where in them they look."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from analysis.confirmation import confirmatory_seed
from analysis.models.loaded import Loaded
from analysis.models.loading import EMBEDDED, load
from analysis.residual_stream.measured_tokens import layers_at
from analysis.scenes.facts import OBJECTS, text_sample
from analysis.scenes.question_kinds import answer_words
from analysis.scenes.questions import Questions, sample
from analysis.statistics.frames import checked
from v2drop.arguments import one_of

DEEP = (1 / 10, 1 / 5, 1 / 3, 1 / 2, 2 / 3, 5 / 6)  # depths at which a model of many layers is looked at


class Subject(NamedTuple):
    """A model and the questions it is asked.

    Attributes:
        name: The model, as `analysis.load` takes it.
        notebook: The notebook whose confirmatory seed the questions have.
        sample: A function from their number and seed to the questions.
        depths: Depths of the layers that are looked at, shares of the layers; None for all layers.
        answers: The words whose first tokens' logits are the theorem's output; None for the hidden state, whose exact
            operator norms cost a backward pass for each of its entries.
    """

    name: str
    notebook: str
    sample: Callable[[int, int], Questions]
    depths: Sequence[float] | None = None
    answers: Sequence[str] | None = None

    def load(self) -> Loaded:
        """The model with its processor."""
        return load(self.name)

    def layers(self, loaded: Loaded) -> list[int]:
        """The layers at the six depths at which all subjects are compared, or those before them."""
        return layers_at(loaded.n_layers, DEEP)

    def questions(self, n: int) -> Questions:
        """The first n questions."""
        return self.sample(n, confirmatory_seed(self.notebook))

    def candidates(self, loaded: Loaded) -> list[int] | None:
        """The token ids whose logits are the theorem's output, ascending; None for the hidden state."""
        if self.answers is None:
            return None
        asked = self.questions(1)[0][1].text
        return sorted({loaded.answer_ids(asked, word)[0] for word in self.answers})


def _pictures(n: int, seed: int) -> Questions:
    return sample(n, "test", seed)


SUBJECTS = {
    "embedded": Subject(str(EMBEDDED), "03_variation_impact_theorem", _pictures),
    "smollm2": Subject("smollm2", "07_real_decoder", text_sample, DEEP, OBJECTS),
    "mosaic_smollm2": Subject("mosaic_smollm2", "07_real_decoder", _pictures, DEEP, answer_words()),
}


def side_by_side(frames: Mapping[str, pd.DataFrame], models: Mapping[str, Loaded]) -> pd.DataFrame:
    """Frames of several models in one, with the columns subject (the key) and depth: (layer + 1) / number of layers.

    Args:
        frames: Frames with a column layer, of whole numbers; rows in which it is something else ("all") have no depth.
        models: The models, by the same keys.

    Raises:
        ValueError: A frame has no column layer, or no model.
    """
    parts = []
    for name, frame in frames.items():
        one_of("frames' names", name, models)
        frame = checked(frame, f"frames[{name!r}]", {"layer": "as it is"})
        depth = (pd.to_numeric(frame.layer, errors="coerce") + 1) / models[name].n_layers
        parts.append(frame.assign(subject=name, depth=depth))
    return pd.concat(parts, ignore_index=True)
