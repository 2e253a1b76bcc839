"""The claims ledger: what the paper claims, and what was measured here. The README and the report read it from here.

``python -m analysis.report.claims`` prints the README's table.
"""

from typing import Literal, NamedTuple

Kind = Literal["yes", "partly", "no", "open"]

MODELS = ("embedded model", "SmolLM2-135M, texts")  # the columns of the ledger


class Verdict(NamedTuple):
    """What was found about a claim on one model."""

    kind: Kind  # the colour of the verdict
    verdict: str
    number: str = ""  # with its 95 % interval
    notebook: str = ""  # that prints the number


class Claim(NamedTuple):
    """A claim of the paper and its verdicts, one for each of MODELS."""

    name: str
    claim: str
    verdicts: tuple[Verdict, ...]


OPEN = Verdict("open", "not measured")
REAL = "07_real_decoder"
ABLATIONS = "08_ablations"
CLAIMS = (
    Claim(
        "C1",
        "High-variation tokens are the task-relevant ones; L2 > L1 ≈ cosine > attention",
        (
            Verdict(
                "no",
                "no",
                "AUROC for the relevant patches: L2 variation 0.42 [0.41, 0.44], "
                "last-token attention 0.80 [0.78, 0.82]",
                "04_metrics",
            ),
            Verdict(
                "no",
                "no: it avoids them in the middle",
                "AUROC for the relevant words over six depths: L2 variation 0.53 [0.50, 0.55], "
                "last-token attention 0.73 [0.69, 0.78]",
                REAL,
            ),
        ),
    ),
    Claim(
        "C2",
        "Attention has an end bias, variation is near-uniform",
        (
            Verdict(
                "no",
                "no: both lean to either end, by layer",
                "position's share of rank variance: L2 variation 0.29 [0.26, 0.33], "
                "last-token attention 0.32 [0.26, 0.41]",
                "05_positional_bias",
            ),
            Verdict(
                "partly",
                "attention has an end bias; variation leans either way, by layer",
                "retention at the end by that at the start: last-token attention 2.72 [2.16, 3.38]; "
                "cosine variation 3.42 [2.29, 5.15] behind layer 19, 0.26 [0.17, 0.37] behind layer 24",
                REAL,
            ),
        ),
    ),
    Claim(
        "C3",
        "Progressive dropping beats one-shot dropping",
        (
            Verdict(
                "no",
                "no: the same",
                "V2Drop at half of the tokens, right with three drops minus with one, the first at layer 1: "
                "-0.01 [-0.04, 0.01]",
                ABLATIONS,
            ),
            Verdict(
                "no",
                "no: where it differs, one drop is better",
                "V2Drop at half of the words, the same, the first at a quarter of the depth: -0.25 [-0.40, -0.08]",
                ABLATIONS,
            ),
        ),
    ),
    Claim(
        "C4",
        "The choice of layers hardly matters",
        (
            Verdict(
                "no",
                "no",
                "V2Drop (L2) at half of the tokens: 0.52 [0.42, 0.62] right with drops at layers 2, 8, 11, "
                "0.92 [0.85, 0.96] at 4, 9, 10, of 145 choices",
                ABLATIONS,
            ),
            Verdict(
                "no",
                "no",
                "V2Drop (L2) with three drops at half of the words: 0.00 [0.00, 0.06] right at the released depths, "
                "0.38 [0.26, 0.52] at layers 3, 10, 20",
                ABLATIONS,
            ),
        ),
    ),
    Claim(
        "C5",
        "Variation predicts the impact on the output (the theorem)",
        (
            Verdict(
                "partly",
                "as a bound yes, as a ranking no",
                "52 of 95 040 impacts exceed the bound; "
                "Spearman of L2 variation with the impact of dropping -0.05 [-0.07, -0.02]",
                "03_variation_impact_theorem",
            ),
            Verdict(
                "partly",
                "as a bound yes, as a ranking no",
                "0 of 4 026 impacts exceed the bound; "
                "Spearman of L2 variation with the impact of dropping 0.06 [0.00, 0.11]",
                REAL,
            ),
        ),
    ),
    Claim("C6", "The criterion is as fast as random dropping", (OPEN, OPEN)),
    Claim(
        "C7",
        "Works with FlashAttention, at lower latency and memory",
        (
            Verdict(
                "partly",
                "compatible; latency and memory not measured",
                "tiny models of all families: same tokens and logits as SDPA through transformers' own FlashAttention "
                "calls (tests, on a CPU)",
            ),
            OPEN,
        ),
    ),
    Claim("C8", "The advantage grows with the length of a video", (OPEN, OPEN)),
    Claim(
        "C9",
        "Task-agnostic: the same tokens vary whatever the question",
        (
            Verdict(
                "yes",
                "yes, by construction: a picture before the question cannot know it",
                "the picture's share of the ranking: L2 variation 1.00, last-token attention 0.23 [0.20, 0.25]",
                "04_metrics",
            ),
            OPEN,
        ),
    ),
)


def ledger() -> str:
    """Return the ledger as the README's Markdown table."""
    head = [f"| | claim | {' | '.join(MODELS)} |", "|---|---|" + "---|" * len(MODELS)]
    return "\n".join([*head, *map(_row, CLAIMS)])


def _row(claim: Claim) -> str:
    return f"| {claim.name} | {claim.claim} | {' | '.join(map(_cell, claim.verdicts))} |"


def _cell(found: Verdict) -> str:
    link = f" ([{found.notebook[:2]}](notebooks/{found.notebook}.ipynb))" if found.notebook else ""
    return f"**{found.verdict}**" + (f"<br>{found.number}" if found.number else "") + link


if __name__ == "__main__":
    print(ledger())
