"""What every method has: a schedule, a score, and the way onto a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from v2drop.candidates import Candidates
from v2drop.dropping import Dropping
from v2drop.schedule import Schedule
from v2drop.types import Scores


@dataclass(frozen=True)
class Method(ABC):
    """A way to choose vision tokens. The base owns the model; a method owns `score`.

    Calling a method on a model gives a context manager; inside it the model drops tokens, after it nothing is left on
    the model. A method holds no state and can be used on any number of models, one at a time each.

    Class attributes:
        needs_previous: `score` reads `candidates.previous`, the input of the layer before; layer 0 has none.
        uses_position: a permutation of the tokens may change which are kept.
    """

    schedule: Schedule

    needs_previous: ClassVar[bool] = False
    uses_position: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse a schedule the method cannot follow.

        Raises:
            ValueError: `schedule` is no Schedule, or drops at layer 0 though the method compares with the layer before.
        """
        if not isinstance(self.schedule, Schedule):
            raise ValueError(f"schedule must be a Schedule, as in Schedule({{3: 0.5}}); got {self.schedule!r}.")
        if self.needs_previous and 0 in self.schedule.layers:
            raise ValueError(
                f"{type(self).__name__} compares a layer's input with the layer before, which layer 0 does not have; "
                "allowed: layers from 1 on."
            )

    @abstractmethod
    def score(self, candidates: Candidates) -> Scores:
        """Importance of each candidate, [batch, vision], higher is kept; ties go to the earlier token.

        A row's scores may depend on that row only, and padding (`candidates.real` False) may hold any number.
        """

    def __call__(self, model: nn.Module, vision_mask: Tensor | None = None) -> Dropping:
        """Use the method on a model: `with method(model) as trace: model.generate(...)`.

        A KV cache belongs to the `with` that made it. A vision token at the very end of a prompt always stays, for the
        next token is read there; without a KV cache `generate` runs each longer sequence as a prompt of its own, in
        which that token is an ordinary one, and the trace is that of the last. Where a loss is taken at a dropped
        position it is NaN: the token has no output.

        Args:
            model: of a supported family (`v2drop.models.FAMILIES`), as transformers loads it.
            vision_mask: BoolTensor [batch, sequence], which positions of the prompt may be dropped; the image
                placeholders by default. Needed for text models and `inputs_embeds`.

        Returns:
            A context manager that gives the `Trace`.
        """
        return Dropping(self, model, vision_mask)
