"""What is known of the rows of a KV cache, kept on the cache itself, so that it follows when rows change.

Users and `generate` copy a cache (`copy.deepcopy`), reorder its rows for beams, select some of them or repeat them. All
these go through the first layer of the cache. So that layer is replaced by one of its own class with `FollowedLayer` in
front, which keeps the records.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from functools import cache as cached
from typing import Any, ClassVar, NoReturn

from torch import Tensor
from transformers import Cache


class FollowedLayer:
    """A cache layer with records. A copy has the same records, and later changes of either leave the other alone.

    Attributes:
        followed_class: the class that the layer had.
        row_tensors: tensors [rows, ...], by name; they change as the rows of the cache do.
        row_values: other values, by name.
        before_update: called before tokens are added to those that the layer holds; raises if they must not be.
    """

    followed_class: ClassVar[type]
    row_tensors: dict[Hashable, Tensor]
    row_values: dict[Hashable, Any]
    before_update: Callable[[], None]

    def update(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Add keys and values; what fills an empty layer (reset, or cropped to nothing) has no records."""
        if self.get_seq_length():
            self.before_update()
        else:
            self.forget()
        return super().update(*args, **kwargs)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Reorder rows, as beam search does."""
        super().reorder_cache(beam_idx)
        self._change(lambda x: x.index_select(0, beam_idx.to(x.device)))

    def batch_select_indices(self, indices: Any) -> None:
        """Keep the rows `indices`."""
        super().batch_select_indices(indices)
        self._change(lambda x: x[indices.to(x.device) if isinstance(indices, Tensor) else indices, ...])

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row."""
        super().batch_repeat_interleave(repeats)
        self._change(lambda x: x.repeat_interleave(repeats, dim=0))

    def _change(self, rows: Callable[[Tensor], Tensor]) -> None:
        self.row_tensors = {name: rows(x) for name, x in self.row_tensors.items()}

    def note(self, name: Hashable, tensor: Tensor | None = None, value: Any = None) -> None:
        """Record a tensor [rows, ...] and a value under a name, in place of what was there."""
        others = {each: x for each, x in self.row_tensors.items() if each != name}
        self.row_tensors = others if tensor is None else others | {name: tensor}
        self.row_values = self.row_values | {name: value}

    def forget(self) -> None:
        """Start again with no records."""
        self.row_tensors, self.row_values, self.before_update = {}, {}, _allowed

    def __copy__(self) -> FollowedLayer:
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __deepcopy__(self, memo: dict) -> FollowedLayer:
        twin = memo[id(self)] = copy.copy(self)
        records = {"row_tensors", "row_values", "before_update"}  # replaced, never changed in place
        vars(twin).update({k: copy.deepcopy(x, memo) for k, x in vars(self).items() if k not in records})
        return twin

    def __reduce__(self) -> NoReturn:
        raise ValueError(
            "a cache that was filled inside a dropping `with` cannot be pickled (torch.save, multiprocessing): it can "
            "be used only inside that `with`. Run its prompt again where it is needed."
        )


def followed_layer(cache: Cache) -> FollowedLayer | None:
    """The layer of a cache that has records; None if the cache has none."""
    layer = cache.layers[0] if cache.layers else None
    return layer if isinstance(layer, FollowedLayer) else None


def follow_rows(cache: Cache) -> FollowedLayer:
    """The layer of a cache that has records; made from the first layer if the cache has none."""
    layer = cache.layers[0]
    if not isinstance(layer, FollowedLayer):
        followed = object.__new__(_followed_class(type(layer)))
        followed.__dict__ = vars(layer)  # shared, in case that someone holds the old layer
        followed.forget()
        cache.layers[0] = followed
    return cache.layers[0]


def _allowed() -> None:
    pass


@cached
def _followed_class(kind: type) -> type:
    attributes = {"followed_class": kind, "_layer_type": None}  # of other types, transformers would register the class
    return type(kind.__name__, (FollowedLayer, kind), attributes)
