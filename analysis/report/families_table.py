"""The README's table of model families, made from the entries that the tests run over.

``python -m analysis.report.families_table`` prints it.
"""

from __future__ import annotations

from analysis.models.prompts.chat_prompts import ALWAYS_A_PICTURE, EQUAL_VIDEOS, PICTURES_OR_VIDEOS
from v2drop.models.decoders import TEXT_MODELS
from v2drop.models.families import FAMILIES, Family

TAKES = {"image": "a picture", "images": "several", "video": "a video"}
BATCHES = {  # what a family's processor cannot put into one batch
    ALWAYS_A_PICTURE: "a picture in every row",
    PICTURES_OR_VIDEOS: "pictures or videos",
    EQUAL_VIDEOS: "videos of one length",
}


def families_table() -> str:
    """One row a family, as Markdown, and the decoders that may be inside them."""
    head = [
        "| `model_type` | for example | a prompt takes | batches | attention | remarks |",
        "|---|---|---|---|---|---|",
    ]
    inside = ", ".join(f"`{name}`" for name in TEXT_MODELS)
    return "\n".join([*head, *(_row(*entry) for entry in FAMILIES.items()), "", f"Decoders inside them: {inside}."])


def _row(name: str, family: Family) -> str:
    example = f"[{family.example}](https://huggingface.co/{family.example})" if family.example else ""
    takes = ", ".join(TAKES[kind] for kind in family.inputs) or "text; `vision_mask` says what may go"
    batches = "; ".join(limit for names, limit in BATCHES.items() if name in names) or "any"
    return (
        f"| `{name}` | {example} | {takes} | {batches} | {', '.join(family.attention_operators)} | {family.remarks} |"
    )


if __name__ == "__main__":
    print(families_table())
