"""Schedules of papers and released codes, by model and by the budget that the source names.

The sources define budgets differently, and few are the true layer average. So each preset names its source, and
`Schedule.preset` adds the true average. A budget for which no source gives the counts is not here.

Sources: V2Drop, arXiv 2509.01552 and its code at 219e03e. FastV, arXiv 2403.06764, and LLMC's port at 05eedff ("rate
.778"). SparseVLM's code at 26a5f48, which counts kept tokens; the recycled tokens are added to them here. PyramidDrop's
code at 6444f30. DART's README, example "0.778 128".

V2Drop's paper says what it prunes at layers 3, 17 and 22: 50 %, 70 % and 100 % for "192 tokens", 72 %, 75 % and 100 %
for "128", 95 %, 95 % and 100 % for "64" (appendix, parameters for LLaVA-1.5-7B). It does not say of what. Here it is
read as of the tokens that are still there, as in the released Qwen2-VL code, because the averages then fit the three
names better than those of the other reading, shares of all tokens.
"""

from typing import NamedTuple

from v2drop.budgets.counting import layer_average


class Preset(NamedTuple):
    """A schedule as published or released.

    Attributes:
        left: number of tokens left (int) or share of the prompt's vision tokens left (float), by drop layer.
        source: the paper or released code.
        n_tokens: number of vision tokens of an image in the source's model.
        n_layers: number of decoder layers of the source's model.
        least: number of tokens that a share leaves at least (`Schedule.least`).
        other_reading: what the source may mean instead of `left`; None if it is clear.
    """

    left: dict[int, int | float]
    source: str
    n_tokens: int = 576  # LLaVA-1.5-7B
    n_layers: int = 32
    least: int = 0
    other_reading: dict[int, float] | None = None

    @property
    def label(self) -> str:
        """The source, and the true layer average of the schedule."""
        average = self._average(self.left)
        label = f"{self.source}: true layer average {average} of {self.n_tokens} tokens over {self.n_layers} layers"
        if self.other_reading is None:
            return label
        return f"{label}; {self._average(self.other_reading)} if the shares are of all tokens"

    def _average(self, left: dict[int, int | float]) -> str:
        return f"{layer_average(left, self.n_tokens, self.n_layers, self.least):.1f}"


def _of_the_paper(*dropped: float) -> Preset:
    """A setting of V2Drop's paper, from the shares that are dropped at layers 3, 17 and 22."""
    first, second, third = (round(1 - share, 6) for share in dropped)
    names = ", ".join(f"{share:.0%}" for share in dropped)
    return Preset(
        {3: first, 17: round(first * second, 6), 22: first * second * third},
        f"V2Drop, paper, prunes {names}, read as of the tokens still there (inferred)",
        other_reading={3: first, 17: second, 22: third},
    )


PRESETS: dict[tuple[str, int], Preset] = {
    ("llava-1.5-7b", 192): Preset({3: 288, 17: 144, 22: 1}, "V2Drop, released LLaVA code"),
    ("llava-1.5-7b-paper", 192): _of_the_paper(0.5, 0.7, 1.0),
    ("llava-1.5-7b-paper", 128): _of_the_paper(0.72, 0.75, 1.0),
    ("llava-1.5-7b-paper", 64): _of_the_paper(0.95, 0.95, 1.0),
    # V2Drop's Qwen2-VL code keeps a quarter of an image's tokens, then a twentieth of that quarter, then one token.
    ("qwen2-vl-7b", 256): Preset({3: 0.25, 16: 0.0125, 22: 1}, "V2Drop, released Qwen2-VL code", 1024, 28, least=1),
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
