"""A processor that fits its model: what old checkpoints leave out is filled in, and one picture is tried."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, ProcessorMixin

from analysis.models.checkpoints.one_line import in_one_line
from analysis.models.prompts import chat_prompts
from analysis.models.prompts.answer_tokens import BLANK
from v2drop.models.parts import locate

MISFIT = (
    "Compare processor_config.json and preprocessor_config.json with config.json: patch size, size of pictures, "
    "vision_feature_select_strategy, num_additional_image_tokens and placeholder must be the model's."
)


def fill(processor: ProcessorMixin, config: PreTrainedConfig) -> None:
    """Give a processor what it needs of the model and its own file lacks, as in checkpoints of older versions.

    Args:
        processor: The processor, which is changed in place.
        config: The model's configuration.
    """
    tower = getattr(config, "vision_config", None)
    side = getattr(tower, "image_size", None), getattr(tower, "patch_size", None)
    known = {
        "patch_size": side[1],
        "vision_feature_select_strategy": getattr(config, "vision_feature_select_strategy", None),
        "num_image_tokens": (side[0] // side[1]) ** 2 if all(isinstance(x, int) and x > 0 for x in side) else None,
    }
    for name, value in known.items():
        if hasattr(processor, name) and getattr(processor, name) is None:
            setattr(processor, name, value)
    # CLIP's class token, which has come to be the processor's to know: left out, it counts as 0 there.
    if not getattr(processor, "num_additional_image_tokens", 1) and tower.model_type == "clip_vision_model":
        processor.num_additional_image_tokens = 1


class _Reached(Exception):  # noqa: N818 - no error
    """Raised where the decoder would begin."""


@torch.no_grad()
def check_fit(name: str, model: nn.Module, processor: ProcessorMixin) -> None:
    """Refuse a processor whose pictures and placeholders its model does not take, by a prompt with a blank picture.

    The model runs up to its decoder. Nothing is tried if no prompt can be made, since the chat template is missing or
    fails: then nothing can be asked either before the user gives another.

    Args:
        name: The folder or hub id.
        model: The model with its weights.
        processor: Its processor.

    Raises:
        ValueError: They do not fit.
    """
    family = model.config.model_type
    try:
        chat_prompts.prompt(processor, family, "what")
    except ValueError:
        return
    parts = locate(model)
    device = torch.device("cpu") if model.device.type == "meta" else model.device
    with in_one_line(name, "its processor does not fit its model: ", MISFIT):
        inputs = chat_prompts.batch(processor, family, ["what"], [[BLANK]], [None]).to(device, model.dtype)
        _check_placeholders(inputs["input_ids"], parts.vision_ids)
        handle = parts.decoder.register_forward_pre_hook(_reached)
        try:
            parts.vlm_module(**inputs)
        except _Reached:
            pass
        finally:
            handle.remove()


def _check_placeholders(ids: torch.Tensor, vision_ids: tuple[int, ...]) -> None:
    if not torch.isin(ids, torch.tensor(vision_ids, device=ids.device)).any():
        raise ValueError(f"no placeholder of the model (token {vision_ids[0]}) is in a prompt with a picture")


def _reached(*_: Any) -> None:
    raise _Reached
