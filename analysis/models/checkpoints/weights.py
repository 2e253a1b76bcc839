"""Whether the weights of a checkpoint are those of the model that its configuration describes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from analysis.models.checkpoints.one_line import refusal

# Left in checkpoints by older versions of transformers: values that a model now computes, and heads that it never uses.
LEFT_OVER = re.compile(r"(^|\.)(position_ids|inv_freq|masked_bias)$|vision_model\.head\.")
OTHERWISE = "the files are incomplete, or of another model or configuration."


def check_report(name: str, report: Mapping[str, Any]) -> None:
    """Refuse weights that are missing, that have no place in the model, or that have another shape there.

    Args:
        name: The folder or hub id.
        report: What `from_pretrained` gives for `output_loading_info`.

    Raises:
        ValueError: There are such weights.
    """
    wrong, missing = sorted(report["mismatched_keys"]), sorted(report["missing_keys"])
    surplus = sorted(key for key in report["unexpected_keys"] if not LEFT_OVER.search(key))
    reason = ""
    if wrong:
        key, held, wanted = wrong[0]
        shapes = f"{key}: {list(held)} instead of {list(wanted)}"
        reason = f"{len(wrong)} of its weights have another shape than its configuration says ({shapes}, ...)"
    elif missing:
        reason = f"{len(missing)} of its weights are not in the checkpoint ({missing[0]}, ...), and would be random"
    elif surplus:
        reason = f"{len(surplus)} of its weights have no place in the model ({surplus[0]}, ...), and would be left out"
    if reason:
        raise ValueError(refusal(name, f"{reason}: {OTHERWISE}"))


def check_finite(name: str, model: nn.Module) -> None:
    """Refuse weights that hold NaN or infinity; weights on disk and quantised ones are not looked at.

    Args:
        name: The folder or hub id.
        model: The model with its weights.

    Raises:
        ValueError: A weight is not finite.
    """
    for key, weight in model.state_dict().items():
        plain = type(weight) is Tensor and weight.is_floating_point() and weight.device.type != "meta"
        if plain and weight.numel() and not _finite(weight):
            raise ValueError(
                refusal(name, f"its weight {key} holds NaN or infinity: the file is damaged, or training went wrong.")
            )


def _finite(weight: Tensor) -> bool:
    if weight.dtype.itemsize == 1:  # 8-bit floats know no order
        weight = weight.float()
    return bool(torch.stack(weight.aminmax()).isfinite().all())  # NaN is handed on; no copy is made
