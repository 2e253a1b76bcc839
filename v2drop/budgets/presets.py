"""Schedules of papers and released codes, under the budget the sources label them with.

No two sources agree, and few labels are the true layer average, so each preset says whose it is and what it really
comes to. Budgets that no source spells out are not here. Sources: V2Drop arXiv 2509.01552 and its code at 219e03e;
FastV arXiv 2403.06764 and LLMC's port at 05eedff ("rate .778"); SparseVLM's code at 26a5f48, whose counts are of the
tokens kept and whose recycled ones come on top; PyramidDrop's at 6444f30; DART's README, example "0.778 128".
"""

from typing import NamedTuple


class Preset(NamedTuple):
    """A schedule as its source has it.

    Attributes:
        left: tokens left (int) or the share of the prompt's (float), by drop layer.
        source: the paper or released code.
        n_tokens: vision tokens of a picture in the source's model.
        n_layers: decoder layers of the source's model.
    """

    left: dict[int, int | float]
    source: str
    n_tokens: int = 576  # as of LLaVA-1.5-7B
    n_layers: int = 32


PRESETS: dict[tuple[str, int], Preset] = {
    ("llava-1.5-7b", 192): Preset({3: 288, 17: 144, 22: 1}, "V2Drop, released LLaVA code"),
    ("llava-1.5-7b-paper", 192): Preset({3: 0.5, 17: 0.3, 22: 0.0}, "V2Drop, paper ('drops 50 % / 70 % / 100 %')"),
    # Its Qwen2-VL code keeps a quarter, a twentieth of that, then one token, of however many the picture has.
    ("qwen2-vl-7b", 256): Preset({3: 0.25, 16: 0.0125, 22: 1}, "V2Drop, released Qwen2-VL code", 1024, 28),
    ("llava-1.5-7b-fastv", 288): Preset({2: 288}, "FastV, paper: K = 2, R = 50 %"),
    ("llava-1.5-7b-fastv", 128): Preset({3: 128}, "FastV, LLMC's port: K = 3, 128 in the end"),
    ("llava-1.5-7b-pdrop", 270): Preset({8: 288, 16: 144, 24: 72}, "PyramidDrop, released code"),
    ("llava-1.5-7b-sparsevlm", 192): Preset({3: 309, 7: 204, 16: 113}, "SparseVLM v1.5, with recycled tokens"),
    ("llava-1.5-7b-sparsevlm", 128): Preset({3: 312, 7: 117, 16: 39}, "SparseVLM v1.5, with recycled tokens"),
    ("llava-1.5-7b-sparsevlm", 96): Preset({3: 249, 7: 55, 16: 27}, "SparseVLM v1.5, with recycled tokens"),
    ("llava-1.5-7b-sparsevlm", 64): Preset({3: 82, 7: 32, 16: 18}, "SparseVLM v1.5, with recycled tokens"),
    ("llava-1.5-7b-sparsevlm_plus", 192): Preset({3: 300, 7: 200, 16: 118}, "SparseVLM+"),
    ("llava-1.5-7b-sparsevlm_plus", 128): Preset({3: 238, 7: 108, 16: 60}, "SparseVLM+"),
    ("llava-1.5-7b-sparsevlm_plus", 96): Preset({3: 246, 7: 54, 16: 28}, "SparseVLM+"),
    ("llava-1.5-7b-sparsevlm_plus", 64): Preset({3: 66, 7: 34, 16: 20}, "SparseVLM+"),
    ("llava-1.5-7b-dart", 128): Preset({2: 132}, "DART, README: 4 image pivots and 8 x 16"),
}
