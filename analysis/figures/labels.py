"""One name, colour, marker and line style for every criterion, quantity and method, the same in all figures.

A hue is a family: variations are blue to green, attention is orange to brown, what knows the Jacobian is purple,
norms are olive, baselines are grey to black. Colours are Okabe and Ito's where they reach, and Tol's; what is close
in grey differs in marker and line. A method that ranks by one criterion looks like that criterion.
"""

from __future__ import annotations

from typing import NamedTuple

Dashes = str | tuple[int, tuple[int, ...]]

DASHED, DOTTED = (0, (5, 2)), (0, (1, 1.5))
DASH_DOT, LONG = (0, (6, 2, 1, 2)), (0, (9, 3))


class Look(NamedTuple):
    """How a criterion, a quantity or a method is shown."""

    label: str
    colour: str
    marker: str
    dashes: Dashes = "-"

    def line(self) -> dict[str, object]:
        """Return it as the keywords of `Axes.plot` and `Axes.errorbar`."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dashes, "label": self.label}

    def point(self) -> dict[str, object]:
        """Return it as the keywords of a plot without a line."""
        return self.line() | {"linestyle": "none"}


CRITERIA = {
    "variation_l2": Look("variation (L2)", "#0072B2", "o"),
    "variation_l1": Look("variation (L1)", "#56B4E9", "s", DASHED),
    "variation_cosine": Look("variation (cosine)", "#009E73", "D"),
    "variation_relative_l2": Look("variation (relative L2)", "#332288", "p", DASH_DOT),
    "variation_transition": Look("transition (TransPrune)", "#44AA99", "v", DASH_DOT),
    "attention_last": Look("attention (last token)", "#D55E00", "^"),
    "attention_text": Look("attention (all text)", "#E69F00", "v", DASHED),
    "attention_debiased": Look("attention (de-biased)", "#8C510A", "<", DASH_DOT),
    "operator_norm": Look("Jacobian norm", "#882255", "h", DASHED),
    "predicted_impact": Look("predicted impact", "#CC79A7", "P"),
    "first_order_impact": Look("first-order impact", "#AA4499", "*", DASH_DOT),
    "predicted_answer": Look("predicted change of the answer", "#CC79A7", "D", LONG),
    "first_order_answer": Look("first-order change of the answer", "#AA4499", "p", LONG),
    "key_norm": Look("key norm", "#999933", "d", LONG),
    "token_norm": Look("token norm", "#666600", "X", DASHED),
    "objects": Look("the digits themselves", "#117733", "*", LONG),
    "random": Look("random", "#767676", "x", DOTTED),
    "variation_l2 permuted": Look("variation (L2), permuted", "#0072B2", "+", DOTTED),
    "predicted_impact permuted": Look("predicted impact, permuted", "#CC79A7", "+", DOTTED),
}

QUANTITIES = {
    "revert_impact": Look("revert impact", "#000000", "o"),
    "drop_impact": Look("drop impact", "#8A8A8A", "s", DASHED),
    "revert_kl": Look("revert KL", "#000000", "<", DASH_DOT),
    "drop_kl": Look("drop KL", "#8A8A8A", "<", DASH_DOT),
    "revert_answer": Look("revert, answer (signed)", "#000000", "^", DOTTED),
    "drop_answer": Look("drop, answer (signed)", "#8A8A8A", "^", DOTTED),
    "revert_answer unsigned": Look("revert, answer (size)", "#000000", "D", LONG),
    "drop_answer unsigned": Look("drop, answer (size)", "#8A8A8A", "D", LONG),
    "gain_ratio": Look("gain ratio", "#117733", ">", DASHED),
    "top_cosine": Look("cosine with the top direction", "#44AA99", ">", DOTTED),
    "answer_gradient": Look("gradient of the answer", "#882255", "H", DOTTED),
    "answer_cosine": Look("cosine with the answer's gradient", "#117733", "<", LONG),
    "beyond_first_order": Look("beyond first order", "#DDAA33", "8", DASH_DOT),
}

METHODS = {
    "v2drop": CRITERIA["variation_l2"]._replace(label="V2Drop"),
    "fastv": CRITERIA["attention_last"]._replace(label="FastV"),
    "pdrop": Look("PyramidDrop", "#D55E00", "v", DASHED),
    "sparsevlm": Look("SparseVLM", "#E69F00", "s"),
    "sparsevlm_plus": Look("SparseVLM+", "#E69F00", "P", DASHED),
    "dart": Look("DART", "#117733", "D"),
    "transprune": CRITERIA["variation_transition"]._replace(label="TransPrune"),
    "fastervlm": Look("FasterVLM", "#CC79A7", "o"),
    "dycoke": Look("DyCoke", "#882255", "s"),
    "mustdrop": Look("MustDrop", "#8C510A", "h"),
    "divprune": Look("DivPrune", "#AA4499", "d"),
    "visionzip": Look("VisionZip", "#CC79A7", "s", DASHED),
    "tome": Look("ToMe", "#882255", "^"),
    "downsample": Look("Downsample", "#999933", "<"),
    "random": CRITERIA["random"],
    "uniform": Look("uniform", "#000000", ".", DOTTED),
    "stratified": Look("stratified random", "#767676", "d", DASHED),
    "coverage": Look("coverage", "#000000", "s", LONG),
}

# V2Drop with the metric that it is given, as frames that compare metrics name it.
METHODS_BY_METRIC = {
    f"v2drop {metric}": CRITERIA[f"variation_{metric}"]._replace(label=f"V2Drop ({label})")
    for metric, label in (("l2", "L2"), ("l1", "L1"), ("cosine", "cosine"))
}

LOOKS = CRITERIA | QUANTITIES | METHODS | METHODS_BY_METRIC
SPARE = ("#3D3D9E", "#B5651D", "#2F6F4F", "#A0458D")  # for what is not listed: a new criterion, a method of one's own

STATISTICS = {
    "spearman": "Spearman correlation",
    "kendall": "Kendall correlation",
    "rbo": "rank-biased overlap",
    "auroc": "AUROC",
    "lmg_share": "Shapley share of the variance of log impact",
}


def look(name: str) -> Look:
    """Return how something is shown; what is not listed keeps its name, and a colour that its name decides."""
    if name in LOOKS:
        return LOOKS[name]
    turn = sum(map(ord, name))
    return Look(name, SPARE[turn % len(SPARE)], "os^D"[turn // len(SPARE) % 4])


def label(name: str) -> str:
    """Return the name that figures show.

    >>> label("attention_last"), label("pdrop"), label("my method")
    ('attention (last token)', 'PyramidDrop', 'my method')
    """
    return look(name).label
