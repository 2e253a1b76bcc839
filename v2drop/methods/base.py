"""`Method`, the base class of every method: a schedule, a score, and use on a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from torch import Tensor, nn

from v2drop.arguments import flag, whole_number
from v2drop.budgets.released_depths import scaled
from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates, Hooks, Selection
from v2drop.engine.dropping import Dropping
from v2drop.engine.protection import Protect, checked_protect
from v2drop.hooks.attention import AttentionHooks
from v2drop.models.parts import ModelParts, locate
from v2drop.scoring.selection import top_mask
from v2drop.sequence.position_ids import Positions, checked_positions
from v2drop.types import Flags, Scores, States


@dataclass(frozen=True)
class Method(ABC):
    """A way to choose the vision tokens that stay. A subclass implements `score`; the engine handles the model.

    Calling a method on a model gives a context manager: inside it the model drops tokens, after it nothing is left on
    the model. A method has no state and works on any number of models; each can be in one `with` at a time.

    Args:
        schedule: layers at whose inputs tokens are dropped, and the number or share of tokens left.
        protect: vision tokens that stay, and count as left, whatever their scores: positions in the prompt (padding not
            counted), or "sinks": norms over five times the vision tokens' median (arXiv 2402.17762). By name only.
        positions: position ids of survivors: "keep"; "repack", which closes gaps, but not in M-RoPE's; or the layers
            that keep them while others repack (LayerPos, arXiv 2609.23715). Default: as released. By name only.

    Class attributes:
        released_schedule: schedule of the released code for LLaVA-1.5-7B (576 vision tokens, 32 layers), in shares.
        first_layer: first layer of a drop; 1 if the score needs what layer 0 does not have.
        needs_previous: whether `score` reads `candidates.previous`, the states one layer earlier.
        needs_attention: whether `candidates.sequence.hooks` must be an `AttentionHooks`, of the layer before.
        needs_tower: whether the method reads the vision tower.
        needs_frames: whether the method compares several images of a row; a row with one image then loses nothing.
        before_llm: whether tokens are dropped at layer 0 only, before the language model.
        exact_count: whether as many tokens are left as the schedule says: merging in the tower may leave fewer; DyCoke,
            which never drops whole frames, more.
        merges_tokens: whether some tokens that stay are merged from several.
        cannot_protect: why `protect` is refused; "": it is not.
        merges_at_entry: whether `choose` is also called at layer 0, before the schedule applies (MustDrop's windows).
        trims_caches: whether at the last drop layer the KV caches of the layers from (first drop layer - 1) on, but
            not of layer 0, are trimmed to the tokens that survive the last drop (MustDrop).
        uses_query: whether the score depends on the text after the vision tokens, the question.
        uses_position: whether permuting the vision tokens may change the choice.
    """

    schedule: Schedule
    protect: Protect = field(default=(), kw_only=True)
    positions: Positions | range = field(default="keep", kw_only=True)

    released_schedule: ClassVar[Schedule]
    before_llm: ClassVar[bool] = False
    exact_count: ClassVar[bool] = True
    merges_tokens: ClassVar[bool] = False
    cannot_protect: ClassVar[str] = ""
    merges_at_entry: ClassVar[bool] = False
    trims_caches: ClassVar[bool] = False
    needs_frames: ClassVar[bool] = False
    needs_tower: ClassVar[bool] = False
    first_layer: ClassVar[int] = 0
    needs_previous: ClassVar[bool] = False
    needs_attention: ClassVar[bool] = False
    uses_query: ClassVar[bool] = False
    uses_position: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the schedule and the options.

        Raises:
            ValueError: `schedule` is no Schedule or drops before `first_layer`; an option is none of those described.
        """
        if not isinstance(self.schedule, Schedule):
            raise ValueError(f"schedule must be a Schedule, as in Schedule({{3: 0.5}}); got {self.schedule!r}.")
        for option in fields(self):
            if option.type in (bool, "bool"):
                self._set(option.name, flag(option.name, getattr(self, option.name)))
        self._set("protect", checked_protect(self.protect, self.cannot_protect))
        self._set("positions", checked_positions(self.positions))
        early = [layer for layer in self.schedule.layers if layer < self.first_layer]
        if early:
            raise ValueError(
                f"{type(self).__name__} drops by what layer 0 does not have; allowed: layers from "
                f"{self.first_layer} on; got {early}."
            )

    def _set(self, option: str, value: Any) -> None:  # the only change that a method sees
        object.__setattr__(self, option, value)

    @classmethod
    def drop_layers(cls, n_layers: int) -> tuple[int, ...]:
        """Drop layers at the depths of the released ones in a decoder of `n_layers` layers; equal ones are merged.

        Raises:
            ValueError: the decoder has no layer from `first_layer` on.

        >>> from v2drop import V2Drop
        >>> V2Drop.drop_layers(32), V2Drop.drop_layers(12)
        ((3, 17, 22), (1, 6, 8))
        """
        return tuple(cls._released_left(n_layers))

    @classmethod
    def _released_left(cls, n_layers: int) -> dict[int, float]:
        if whole_number("n_layers", n_layers, 1) <= cls.first_layer:
            raise ValueError(
                f"{cls.__name__} drops from layer {cls.first_layer} on; the decoder must have more; got {n_layers}."
            )
        return scaled(cls.released_schedule, cls.first_layer, n_layers)

    @classmethod
    def default(cls, model: nn.Module, **options: Any) -> Method:
        """The method as released, with these options: drop layers at the same depths, the same shares.

        Raises:
            ValueError: the model is not supported, or has no layer from `first_layer` on.
        """
        n_layers = len(locate(model).layers)
        released = cls.released_schedule
        return cls(Schedule(cls._released_left(n_layers), released.label, released.least), **options)

    @classmethod
    def for_average(cls, average: int | float, n_tokens: int, n_layers: int, **options: Any) -> Method:
        """The method with a given true layer average, dropping at the released depths (`Schedule.for_average`).

        >>> from v2drop import FastV
        >>> FastV.for_average(192, n_tokens=576, n_layers=32).schedule
        Schedule({2: 166})
        """
        return cls(Schedule.for_average(average, cls.drop_layers(n_layers), n_tokens, n_layers), **options)

    @classmethod
    def for_final(cls, final: int, n_tokens: int, n_layers: int, **options: Any) -> Method:
        """The method with a given final count, dropping at the released depths (`Schedule.for_final`)."""
        return cls(Schedule.for_final(final, cls.drop_layers(n_layers), n_tokens, n_layers), **options)

    @abstractmethod
    def score(self, candidates: Candidates) -> Scores:
        """Importance of each candidate, [batch, vision]; higher is kept, ties go to the earlier token.

        Scores of a row must depend on that row only. In padding (`candidates.valid` False) any number is allowed.
        """

    def choose(self, candidates: Candidates, scores: Scores) -> Selection:
        """The candidates that survive: by default those with the highest scores. Overridden to merge or reorder."""
        return Selection(top_mask(scores, candidates.valid, candidates.n_keep), candidates.n_keep)

    def annotate(self, states: States, vision: Flags, text_after: Flags) -> Flags | None:
        """Flags of columns for `candidates.sequence.annotation` at every drop, computed once.

        From the states that enter layer 0, and flags of what may be dropped and of text behind it.
        """
        return None

    def hooks(self) -> Hooks:
        """New hooks of the method for one `with`, available as `candidates.sequence.hooks`."""
        return AttentionHooks() if self.needs_attention else Hooks()

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a model that the method cannot work on.

        Raises:
            ValueError: the method reads the vision tower, and the model has no CLIP tower.
        """
        if self.needs_tower and parts.vision_tower is None:
            raise ValueError(
                f"{type(self).__name__} reads the vision tower; allowed: the family 'llava' with a CLIP tower, one "
                "vision_feature_layer and vision_feature_select_strategy='default'."
            )

    def __call__(self, model: nn.Module, vision_mask: Tensor | None = None) -> Dropping:
        """Use the method on a model: `with method(model) as trace: model.generate(...)`.

        - A KV cache can be used only inside the `with` in which it was filled.
        - A vision token at the very end of a prompt is never dropped, because the next token is predicted there.
        - Without a KV cache, `generate` runs each longer sequence as a new prompt, and the trace is of the last one.
        - Draft tokens (prompt lookup, an assistant) are prefilled with the prompt and count as text after the vision
          tokens, so a method that `uses_query` may keep other tokens.
        - Leaving the `with` waits for a `generate` in another thread (for a streamer).
        - With a 4-D attention mask, which does not show padding, rows must be padded on the left, or not at all.
        - A dropped position has NaN as its output, and a loss at that position is NaN.

        Args:
            model: model of a supported family (`v2drop.models.families.FAMILIES`), as transformers loads it.
            vision_mask: BoolTensor [batch, sequence], True at positions of the prompt that may be dropped; None: the
                image placeholders. Required for text models and for `inputs_embeds`.

        Returns:
            A context manager that returns the `Trace` on entry.
        """
        return Dropping(self, model, vision_mask)
