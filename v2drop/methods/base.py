"""What every method has: a schedule, a score, and the way onto a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from v2drop.budgets.released_depths import scaled
from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates, Hooks, Selection
from v2drop.engine.dropping import Dropping
from v2drop.hooks.attention import AttentionHooks
from v2drop.models.parts import ModelParts, locate
from v2drop.scoring.selection import top_mask
from v2drop.types import Flags, Scores, States


@dataclass(frozen=True)
class Method(ABC):
    """A way to choose vision tokens. The base owns the model; a method owns `score`.

    Calling a method on a model gives a context manager; inside it the model drops tokens, after it nothing is left on
    the model. A method holds no state and can be used on any number of models, one at a time each.

    Class attributes:
        released: the schedule of the released code on LLaVA-1.5-7B, 576 tokens and 32 layers, in shares.
        before_llm: tokens are dropped at layer 0 alone, before the language model sees them.
        exact_count: as many are left as the schedule says. False: a row may have fewer, and a row of several pictures
            needs a share, for pictures are shortened before rows are known; or more, if the method needs frames.
        makes_tokens: some of those that go on are made of several.
        enters: the method is asked at layer 0 too, where the schedule has no say, to merge what is alike.
        cuts_caches: after the last drop, caches are cut to what it left from the layer before the first on (`held`).
        needs_frames: the method compares several pictures of a row, and leaves a single one as it is.
        needs_tower: the method reads the vision tower.
        first_layer: tokens may be dropped from here on; 1 if the score is of what layer 0 does not have.
        needs_previous: `score` reads `candidates.previous`, the input of the layer before.
        needs_attention: `whole.hooks` is an `AttentionHooks`, of the layer before.
        uses_query: the score depends on text behind the vision tokens, so what is kept depends on the question.
        uses_position: a permutation of the tokens may change which are kept.
        positions: "keep": survivors keep their position ids; "repack": the gaps are closed, but for ids that are places
            in time, height and width (M-RoPE), which are kept.
    """

    schedule: Schedule

    released_schedule: ClassVar[Schedule]
    before_llm: ClassVar[bool] = False
    exact_count: ClassVar[bool] = True
    merges_tokens: ClassVar[bool] = False
    merges_at_entry: ClassVar[bool] = False
    trims_caches: ClassVar[bool] = False
    needs_frames: ClassVar[bool] = False
    needs_tower: ClassVar[bool] = False
    first_layer: ClassVar[int] = 0
    needs_previous: ClassVar[bool] = False
    needs_attention: ClassVar[bool] = False
    uses_query: ClassVar[bool] = False
    uses_position: ClassVar[bool] = False
    positions: ClassVar[Literal["keep", "repack"]] = "keep"

    def __post_init__(self) -> None:
        """Refuse a schedule the method cannot follow.

        Raises:
            ValueError: `schedule` is no Schedule, or drops before the method has what it scores by.
        """
        if not isinstance(self.schedule, Schedule):
            raise ValueError(f"schedule must be a Schedule, as in Schedule({{3: 0.5}}); got {self.schedule!r}.")
        for option in fields(self):
            value = getattr(self, option.name)
            if option.type in (bool, "bool") and not isinstance(value, bool):
                raise ValueError(f"{option.name} must be True or False; got {value!r}.")
        early = [layer for layer in self.schedule.layers if layer < self.first_layer]
        if early:
            raise ValueError(
                f"{type(self).__name__} scores by what layer 0 does not have; allowed: layers from {self.first_layer} "
                f"on; got {early}."
            )

    @classmethod
    def drop_layers(cls, n_layers: int) -> tuple[int, ...]:
        """The released layers, at the same depths of a decoder of `n_layers`; two that fall together are one.

        Raises:
            ValueError: the decoder has too few layers.

        >>> from v2drop import V2Drop
        >>> V2Drop.drop_layers(32), V2Drop.drop_layers(12)
        ((3, 17, 22), (1, 6, 8))
        """
        return tuple(cls._released_left(n_layers))

    @classmethod
    def _released_left(cls, n_layers: int) -> dict[int, float]:
        if n_layers <= cls.first_layer:
            raise ValueError(
                f"{cls.__name__} drops from layer {cls.first_layer} on; the decoder must have more; got {n_layers}."
            )
        return scaled(cls.released_schedule, cls.first_layer, n_layers)

    @classmethod
    def default(cls, model: nn.Module, **options: Any) -> Method:
        """The method as released, its layers at the same depths and its counts in the same shares.

        Args:
            model: a model of a supported family.
            options: the method's own options.

        Raises:
            ValueError: the model is not supported.
        """
        n_layers = len(locate(model).layers)
        return cls(Schedule(cls._released_left(n_layers), label=cls.released_schedule.label), **options)

    @classmethod
    def for_average(cls, average: int | float, n_tokens: int, n_layers: int, **options: Any) -> Method:
        """The method at a true layer average, dropping at the released depths (`Schedule.for_average`).

        >>> from v2drop import FastV
        >>> FastV.for_average(192, n_tokens=576, n_layers=32).schedule
        Schedule({2: 166})
        """
        return cls(Schedule.for_average(average, cls.drop_layers(n_layers), n_tokens, n_layers), **options)

    @classmethod
    def for_final(cls, final: int, n_tokens: int, n_layers: int, **options: Any) -> Method:
        """The method at a final count, dropping at the released depths (`Schedule.for_final`)."""
        return cls(Schedule.for_final(final, cls.drop_layers(n_layers), n_tokens, n_layers), **options)

    @abstractmethod
    def score(self, candidates: Candidates) -> Scores:
        """Importance of each candidate, [batch, vision], higher is kept; ties go to the earlier token.

        A row's scores may depend on that row only, and padding (`candidates.valid` False) may hold any number.
        """

    def choose(self, candidates: Candidates, score: Scores) -> Selection:
        """Who goes on: by default the highest scores. A method that makes new tokens says so here."""
        return Selection(top_mask(score, candidates.valid, candidates.n_keep), candidates.n_keep)

    def annotate(self, states: States, vision: Flags, text_after: Flags) -> Flags | None:
        """Note something of each column when the embeddings are there, for `whole.annotation` at every drop.

        Args:
            states: what enters layer 0.
            vision: columns that may be dropped.
            text_after: text behind a row's last vision token.
        """
        return None

    def hooks(self) -> Hooks:
        """What else is noted of the model's computation, for `whole.hooks`; a new one for each `with`."""
        return AttentionHooks() if self.needs_attention else Hooks()

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a model that the method cannot work on.

        Raises:
            ValueError: it lacks what the method needs.
        """
        if self.needs_tower and parts.vision_tower is None:
            raise ValueError(
                f"{type(self).__name__} reads the vision tower; allowed: the family 'llava' with a CLIP tower, one "
                "vision_feature_layer and vision_feature_select_strategy='default'."
            )

    def __call__(self, model: nn.Module, vision_mask: Tensor | None = None) -> Dropping:
        """Use the method on a model: `with method(model) as trace: model.generate(...)`.

        A KV cache belongs to the `with` that made it. A vision token at the very end of a prompt always stays, for the
        next token is read there; without a KV cache `generate` runs each longer sequence as a prompt of its own, in
        which that token is an ordinary one, and the trace is that of the last. Generation with drafts (prompt lookup,
        an assistant) prefills them with the prompt, so a method that `uses_query` asks them too and may keep other
        tokens. Where a loss is taken at a dropped position it is NaN: the token has no output.

        Args:
            model: of a supported family (`v2drop.models.families.FAMILIES`), as transformers loads it.
            vision_mask: BoolTensor [batch, sequence], which positions of the prompt may be dropped; the image
                placeholders by default. Needed for text models and `inputs_embeds`.

        Returns:
            A context manager that gives the `Trace`.
        """
        return Dropping(self, model, vision_mask)
