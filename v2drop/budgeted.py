"""One budget language for all methods: the released default, a true layer average, or a final count."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from torch import nn

from v2drop.models import locate
from v2drop.schedule import Schedule

RELEASED_DEPTH = 32  # decoder layers of LLaVA-1.5-7B, which the released codes' layers are of


class Budgeted:
    """What a method does not say of its budget itself.

    Class attributes:
        released: the schedule of the released code on LLaVA-1.5-7B, 576 tokens and 32 layers, in shares.
        first_layer: tokens may be dropped from here on.
    """

    released: ClassVar[Schedule]
    first_layer: ClassVar[int]

    @classmethod
    def drop_layers(cls, n_layers: int) -> tuple[int, ...]:
        """The released layers, at the same depths of a decoder of `n_layers`; two that fall together are one.

        Raises:
            ValueError: the decoder has too few layers.

        >>> from v2drop import V2Drop
        >>> V2Drop.drop_layers(32), V2Drop.drop_layers(12)
        ((3, 17, 22), (1, 6, 8))
        """
        return tuple(cls._scaled(n_layers))

    @classmethod
    def _scaled(cls, n_layers: int) -> dict[int, float]:
        if n_layers <= cls.first_layer:
            raise ValueError(
                f"{cls.__name__} drops from layer {cls.first_layer} on; the decoder must have more; got {n_layers}."
            )
        scaled = {}
        for layer, share in cls.released.left.items():
            first = max(cls.first_layer, min(layer, n_layers - 1, 1))  # a later layer does not become the entry
            scaled[min(max(round(layer / RELEASED_DEPTH * n_layers), first), n_layers - 1)] = share
        return scaled

    @classmethod
    def default(cls, model: nn.Module, **options: Any) -> Self:
        """The method as released, its layers at the same depths and its counts in the same shares.

        Args:
            model: of a supported family.
            options: of the method.

        Raises:
            ValueError: the model is not supported.
        """
        return cls(Schedule(cls._scaled(len(locate(model).layers)), label=cls.released.label), **options)

    @classmethod
    def for_average(cls, average: float, n_tokens: int, n_layers: int, **options: Any) -> Self:
        """The method at a true layer average, dropping at the released depths (`Schedule.for_average`).

        >>> from v2drop import FastV
        >>> FastV.for_average(192, n_tokens=576, n_layers=32).schedule
        Schedule({2: 166})
        """
        return cls(Schedule.for_average(average, cls.drop_layers(n_layers), n_tokens, n_layers), **options)

    @classmethod
    def for_final(cls, final: int, n_tokens: int, n_layers: int, **options: Any) -> Self:
        """The method at a final count, dropping at the released depths (`Schedule.for_final`)."""
        return cls(Schedule.for_final(final, cls.drop_layers(n_layers), n_tokens, n_layers), **options)
