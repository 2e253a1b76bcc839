"""The grids of a picture's vision tokens, from what each family's own processor computes (`Family.layout`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from transformers.image_processing_utils import select_best_resolution
from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

from analysis.statistics.grids import TokenGrid, as_grids, grid_side, tiles

Size = tuple[int, int]  # height and width of the picture, in pixels
Inputs = Mapping[str, Any]  # of the model, for this picture alone


def grids_of(layout: str, processor: Any, inputs: Inputs, picture: Any, size: Size, n: int) -> tuple[TokenGrid, ...]:
    """The grids of one picture, in prompt order.

    Args:
        layout: The family's layout, a key of LAYOUTS.
        processor: The checkpoint's processor.
        inputs: The model's inputs for this picture alone.
        picture: The picture.
        size: Its height and width.
        n: The number of its vision tokens in the prompt.

    Raises:
        ValueError: The layout does not give as many tokens as there are.
    """
    grids = LAYOUTS[layout](processor, inputs, picture, size, n)
    found = sum(grid.n_tokens for grid in grids)
    if found != n:
        raise ValueError(
            f"the layout {layout!r} gives {found} tokens for a picture of {size[0]} x {size[1]} pixels, but the prompt "
            f"has {n}: the processor is set in a way that analysis/models/token_grids.py does not know."
        )
    return grids


def _square(_: Any, __: Inputs, ___: Any, ____: Size, n: int) -> tuple[TokenGrid, ...]:
    return as_grids(n)


def _merged_patches(processor: Any, inputs: Inputs, *_: Any) -> tuple[TokenGrid, ...]:
    """Qwen: patches of the picture's own shape, several of which become one token."""
    _, rows, columns = inputs["image_grid_thw"][0].tolist()
    merge = processor.image_processor.merge_size
    return (TokenGrid(rows // merge, columns // merge),)


def _base_and_lines(processor: Any, inputs: Inputs, _: Any, size: Size, __: int) -> tuple[TokenGrid, ...]:
    """LLaVA-NeXT: the whole picture, then its tiles put together, without padding, with a newline for each row."""
    tile = inputs["pixel_values"].shape[-2:]
    per_tile = getattr(processor, "num_image_tokens", None)  # OneVision says it; the others by their patches
    side = grid_side(per_tile) if per_tile else tile[0] // processor.patch_size
    best = select_best_resolution(list(size), processor.image_processor.image_grid_pinpoints)
    scale = [whole // part for whole, part in zip(best, tile, strict=True)]
    shown, rows = processor._get_unpadded_features(*size, side, side, *scale)
    return TokenGrid(side, side), TokenGrid(rows, shown // rows, newline=True)


def _tiles_and_thumbnail(processor: Any, inputs: Inputs, _: Any, size: Size, n: int) -> tuple[TokenGrid, ...]:
    """InternVL: tiles row by row, then the whole picture, if there are several tiles."""
    settings, n_tiles = processor.image_processor, len(inputs["pixel_values"])
    side = grid_side(n // n_tiles)
    if n_tiles == 1:
        return as_grids(n)
    tile = inputs["pixel_values"].shape[-2:]
    columns, rows = get_optimal_tiled_canvas(size, tuple(tile), settings.min_patches, settings.max_patches)
    return (*tiles(rows, columns, side), *([TokenGrid(side, side)] if n_tiles > rows * columns else []))


def _tiles_in_text(processor: Any, _: Inputs, picture: Any, __: Size, ___: int) -> tuple[TokenGrid, ...]:
    """Idefics3 and SmolVLM: tiles row by row with text between them, then the whole picture."""
    cut = processor.image_processor([picture], return_row_col_info=True)
    side = grid_side(processor.image_seq_len)
    return (*tiles(cut["rows"][0][0], cut["cols"][0][0], side), TokenGrid(side, side))


LAYOUTS: dict[str, Callable[..., tuple[TokenGrid, ...]]] = {
    "square": _square,
    "merged patches": _merged_patches,
    "base and lines": _base_and_lines,
    "tiles and thumbnail": _tiles_and_thumbnail,
    "tiles in text": _tiles_in_text,
}
