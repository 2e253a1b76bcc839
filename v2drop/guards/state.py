"""Refusals that depend on the state of a `with`: new images in a later call, caches that it does not know."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from v2drop.models.calling import decoder_input


def check_no_new_vision(placeholders: Tensor | None, past: int) -> None:
    """Refuse image tokens in a call with a filled cache.

    Args:
        placeholders: flags of the call's image placeholders, [batch, length]; None if unknown.
        past: number of tokens in the cache.

    Raises:
        ValueError: there are image tokens: a new image with an old cache, a prefill in chunks, or the prompt again.
    """
    if placeholders is not None and placeholders.shape[1] > 1 and placeholders.any():
        raise ValueError(
            f"image tokens came when the cache already held {past} tokens; a prompt with its images must be "
            "prefilled at once (no prefill_chunk_size, no old cache with a new image; after a drop at layer 0 no old "
            "cache in `generate`, which takes its length for the number of tokens)."
        )


def check_foreign_cache(lengths: list[int], past: int, mask: Any, n_new: int, shortened: bool, masked: bool) -> None:
    """Refuse a cache that no prompt of this `with` filled, unless it holds all tokens in every layer.

    Args:
        lengths: number of tokens in each layer of the cache.
        past: number of tokens in the first layer.
        mask: attention mask that the model was called with; a 2-D one has a column for every token so far.
        n_new: number of new tokens.
        shortened: whether a drop at layer 0 is known to have shortened every layer of the cache.
        masked: whether the `with` has a `vision_mask`.

    Raises:
        ValueError: tokens are missing from the cache, or `vision_mask` would have to apply to a prompt that is already
            cached.
    """
    n_so_far = mask.shape[1] if isinstance(mask, Tensor) and mask.ndim == 2 else past + n_new
    if shortened or set(lengths) != {past} or n_so_far > past + n_new:
        so_far = f" and the mask counts {n_so_far - n_new}" if n_so_far > past + n_new else ""
        raise ValueError(
            f"the cache holds {lengths} tokens per layer{so_far}, and no prompt of this `with` filled it: it was made "
            "inside another `with`, or anew from tensors. Run its prompt again (copy.deepcopy makes a copy that can "
            "be used)."
        )
    if masked:
        raise ValueError(
            f"the cache already holds {past} tokens from outside this `with`, so vision_mask= has no prompt to apply "
            "to. Run the whole prompt inside the `with`."
        )


def check_not_left(left: bool) -> None:
    """Refuse a cache that lacks tokens after the `with` in which it was filled.

    Args:
        left: whether that `with` was left.

    Raises:
        ValueError: it was.
    """
    if left:
        raise ValueError(
            "tokens are missing from this cache: it was filled inside a dropping `with` that was left, and without it "
            "the model would count its tokens wrongly. Go on inside that `with`, or run the prompt again."
        )


def check_cache_lengths(lengths: list[int], expected: list[int]) -> None:
    """Refuse a cache of this `with` that was changed outside the model.

    Args:
        lengths: number of tokens in each layer of the cache.
        expected: number of tokens that each layer must hold.

    Raises:
        ValueError: a layer holds another number of tokens.
    """
    if lengths != expected:
        raise ValueError(
            f"the cache holds {lengths} tokens per layer; after the last prompt of this `with` it must hold "
            f"{expected}. It was changed since. Run the prompt again."
        )


def check_batch_size(kwargs: dict[str, Any], rows: int) -> None:
    """Refuse a batch with another number of rows than the prompt.

    Args:
        kwargs: arguments of the decoder's call.
        rows: number of rows of the prompt.

    Raises:
        ValueError: the numbers differ.
    """
    if len(decoder_input(kwargs)) != rows:
        got = len(decoder_input(kwargs))
        raise ValueError(f"the batch must keep the {rows} rows of its prompt; got {got}. Run the prompt again.")
