"""The claims ledger: what the paper claims, and what was measured here. The README and the report read it from here.

``python -m analysis.report.claims`` prints the README's table.
"""

from typing import Literal, NamedTuple

Kind = Literal["yes", "partly", "no", "open"]

EMBEDDED = "embedded model"


class Claim(NamedTuple):
    """A claim of the paper and its verdict."""

    name: str
    claim: str
    kind: Kind  # the colour of the verdict
    verdict: str
    model: str  # on which it was measured
    number: str  # with its 95 % interval
    notebook: str  # that prints the number


CLAIMS = (
    Claim(
        "C1",
        "High-variation tokens are the task-relevant ones; L2 > L1 ≈ cosine > attention",
        "no",
        "no",
        EMBEDDED,
        "AUROC for the relevant patches: L2 variation 0.42 [0.41, 0.44], last-token attention 0.80 [0.78, 0.82]",
        "04_metrics",
    ),
    Claim(
        "C2",
        "Attention has an end bias, variation is near-uniform",
        "no",
        "no: both lean to either end, by layer",
        EMBEDDED,
        "position's share of rank variance: L2 variation 0.29 [0.26, 0.33], last-token attention 0.32 [0.26, 0.41]",
        "05_positional_bias",
    ),
    Claim("C3", "Progressive dropping beats one-shot dropping", "open", "not measured yet", "", "", ""),
    Claim(
        "C4",
        "The choice of layers hardly matters",
        "no",
        "no",
        EMBEDDED,
        "V2Drop (L2) at 72 of 144 tokens: 0.53 [0.48, 0.58] right with drops at layers 1, 2, 3, "
        "0.79 [0.74, 0.82] at 4, 5, 6",
        "01_quickstart",
    ),
    Claim(
        "C5",
        "Variation predicts the impact on the output (the theorem)",
        "partly",
        "as a bound yes, as a ranking no",
        EMBEDDED,
        "52 of 95 040 impacts exceed the bound; "
        "Spearman of L2 variation with the impact of dropping -0.05 [-0.07, -0.02]",
        "03_variation_impact_theorem",
    ),
    Claim("C6", "The criterion is as fast as random dropping", "open", "not measured yet", "", "", ""),
    Claim(
        "C7",
        "Works with FlashAttention, at lower latency and memory",
        "partly",
        "compatible; latency and memory not measured yet",
        "tiny models of all families",
        "same tokens and logits as SDPA through transformers' own FlashAttention calls (tests, on a CPU)",
        "",
    ),
    Claim("C8", "The advantage grows with the length of a video", "open", "not measured", "", "", ""),
    Claim(
        "C9",
        "Task-agnostic: the same tokens vary whatever the question",
        "yes",
        "yes, by construction: a picture before the question cannot know it",
        EMBEDDED,
        "the picture's share of the ranking: L2 variation 1.00, last-token attention 0.23 [0.20, 0.25]",
        "04_metrics",
    ),
)


def ledger() -> str:
    """Return the ledger as the README's Markdown table."""
    head = ["| | claim | verdict | measured | notebook |", "|---|---|---|---|---|"]
    return "\n".join([*head, *map(_row, CLAIMS)])


def _row(claim: Claim) -> str:
    verdict = f"**{claim.verdict}**" + (f" ({claim.model})" if claim.model else "")
    link = f"[{claim.notebook[:2]}](notebooks/{claim.notebook}.ipynb)" if claim.notebook else ""
    return f"| {claim.name} | {claim.claim} | {verdict} | {claim.number} | {link} |"


if __name__ == "__main__":
    print(ledger())
