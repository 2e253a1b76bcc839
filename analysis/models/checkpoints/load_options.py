"""The options of `analysis.load` on this machine: dtypes, devices of layers, attention operators, the hub.

Imports classes of transformers: to be imported after `v2drop.models.torchvision_ops.usable()`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from torch import nn
from transformers import PreTrainedConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import (
    is_flash_attn_2_available,
    is_flash_attn_3_available,
    is_flash_attn_4_available,
)

DTYPES_BY_NAME = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16", "float64")}
SPREADS = ("auto", "balanced", "balanced_low_0", "sequential")  # accelerate's ways to place layers by itself
NEEDS = {  # transformers' own tests for the package, and for a GPU that it runs on
    "flash_attention_2": is_flash_attn_2_available,
    "flash_attention_3": is_flash_attn_3_available,
    "flash_attention_4": is_flash_attn_4_available,
}


def from_pretrained_options(dtype: Any, device_map: Any, operator: Any) -> dict[str, Any]:
    """The keyword arguments of `from_pretrained` for the options of `analysis.load`.

    Args:
        dtype: The dtype of the weights; None for float32 on a CPU, the checkpoint's own on a GPU.
        device_map: The devices of the layers, as transformers takes them; None for a single device.
        operator: The attention operator, or one for each part of the configuration; None for transformers' choice.

    Raises:
        ValueError: An option does not exist on this machine.
    """
    options: dict[str, Any] = {"dtype": _dtype(dtype)}
    if device_map is not None:
        options["device_map"] = _device_map(device_map)
    if operator is not None:
        for name in operator.values() if isinstance(operator, dict) else [operator]:
            _check_operator(name)
        options["attn_implementation"] = operator
    return options


def operators() -> list[str]:
    """The values that `attn_implementation` may have here: built in, installed, or registered with transformers."""
    names = ALL_ATTENTION_FUNCTIONS.valid_keys()  # no paged and no flex ones, under which no tokens can be dropped
    known = ["eager", *sorted(name for name in names if "|" not in name and "flex" not in name)]
    return [name for name in known if name not in NEEDS or NEEDS[name]()]


def _dtype(dtype: Any) -> torch.dtype | str:
    if dtype is None:
        return "auto" if torch.cuda.is_available() else torch.float32
    if isinstance(dtype, torch.dtype) and dtype in DTYPES_BY_NAME.values():
        return dtype
    if isinstance(dtype, str) and dtype == "auto":
        return dtype
    if isinstance(dtype, str) and dtype.removeprefix("torch.") in DTYPES_BY_NAME:
        return DTYPES_BY_NAME[dtype.removeprefix("torch.")]
    raise ValueError(
        f"dtype must be 'auto', {', '.join(map(repr, DTYPES_BY_NAME))} or such a torch dtype; got {dtype!r}."
    )


def _device_map(device_map: Any) -> Any:
    if find_spec("accelerate") is None:
        raise ValueError(f"device_map={device_map!r} needs accelerate, which is not installed: pip install '.[big]'.")
    for device in (device_map.values() or [None]) if isinstance(device_map, dict) else [device_map]:
        if not isinstance(device, str) or device not in (*SPREADS, "disk"):
            _check_device(device, device_map)
    return device_map


def check_modules(device_map: Any, model: nn.Module) -> None:
    """Refuse a dict of devices with a name that no module and no weight of the model has.

    Args:
        device_map: The devices of the layers, as transformers takes them.
        model: The model, which needs no weights.

    Raises:
        ValueError: There is such a name.
    """
    known = {name for name, _ in (*model.named_modules(), *model.named_parameters())}
    unknown = [name for name in device_map if name not in known] if isinstance(device_map, dict) else []
    if unknown:
        parts = ", ".join(repr(name) for name in sorted(known) if name.count(".") < 2 and name)
        raise ValueError(f"device_map must name modules of the model, such as {parts}; got {unknown[0]!r}.")


def check_parts(config: PreTrainedConfig, operator: Any) -> None:
    """Refuse a dict of attention operators with a name that no part of the configuration has.

    Args:
        config: The model's configuration.
        operator: The attention operator, or one for each part of the configuration; None for transformers' choice.

    Raises:
        ValueError: There is such a name.
    """
    unknown = set(operator) - {"", *config.sub_configs} if isinstance(operator, dict) else ()
    if unknown:
        raise ValueError(
            f"attn_implementation names parts of the configuration, {', '.join(sorted(config.sub_configs))}; got "
            f"{', '.join(map(repr, sorted(unknown)))}."
        )


def _check_device(device: Any, device_map: Any) -> None:
    try:
        if torch.empty(0, device=device).is_meta or device is None:
            raise TypeError("no place for weights")
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        allowed = f"{', '.join(map(repr, SPREADS))}, a device of this machine, or a dict from names of modules to those"
        raise ValueError(f"device_map must be {allowed} or 'disk'; got {device_map!r}.") from error


def _check_operator(name: Any) -> None:
    if isinstance(name, str) and name in operators():
        return
    known = isinstance(name, str) and name in NEEDS
    why = "not installed here, or there is no GPU for it" if known else "no operator of this name is known"
    raise ValueError(f"attn_implementation must be one of {', '.join(operators())}; got {name!r}: {why}.")


def only_local_files(name: str) -> bool:
    """Whether a checkpoint has to come from this machine, since the hub does not answer.

    Without this question every file of a checkpoint is asked for six times, with pauses, before the cache is looked at.

    Args:
        name: The folder or hub id.
    """
    if Path(name).is_dir() or constants.HF_HUB_OFFLINE:
        return False  # transformers sees to these itself
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (HfHubHTTPError, HFValidationError):
        return False  # an answer, though a refusal, which transformers explains
    except Exception:  # of whichever client the hub's library uses: no name, no route, no time
        return True
    return False
