"""Reading a checkpoint, with all cheap checks before the weights are read.

Imports classes of transformers: to be imported after `analysis.models.torchvision_ops.usable()`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
    logging,
)

from analysis.models.load_options import from_pretrained_options
from v2drop.models.families import FAMILIES
from v2drop.models.parts import CROSS_ATTENTION, locate

ADVICE = (
    "Give a folder that save_pretrained wrote, or a hub id spelt as on its page (log in for a gated one; unset "
    "HF_HUB_OFFLINE to download); leave V2DROP_MODEL unset for the embedded model, which lies in data/ of a clone."
)
# What transformers' loaders raise when something is missing, misspelt or broken.
WRONG = (OSError, ValueError, ImportError, AttributeError, TypeError, KeyError, SafetensorError)


def read(name: str, dtype: Any, device_map: Any, operator: Any) -> tuple[PreTrainedModel, ProcessorMixin]:
    """The model, in evaluation mode and without gradients, and its processor.

    Args:
        name: A folder or a hub id.
        dtype: The dtype of the weights; None for float32 on a CPU, the checkpoint's own on a GPU.
        device_map: The devices of the layers, as transformers takes them; None for a single device.
        operator: The attention operator, or one for each part of the configuration; None for transformers' choice.

    Raises:
        ValueError: An argument or the checkpoint is wrong; the message says how.
    """
    name = os.path.expanduser(name)
    local = name.startswith((".", "/", "~")) or Path(name).is_file()
    if local and not Path(name).is_dir():
        raise ValueError(f"{name!r} cannot be loaded: there is no such folder. {ADVICE}")
    options = from_pretrained_options(dtype, device_map, operator)
    with _quiet():
        with _in_one_line(name):
            config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        _check_family(name, config)
        _check_parts(config, operator)
        processor = _processor(name)
        with _in_one_line(name):
            model, report = AutoModelForImageTextToText.from_pretrained(
                name, trust_remote_code=False, output_loading_info=True, **options
            )
    _check_whole(name, sorted(report["missing_keys"]))
    if device_map is None:
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model.eval().requires_grad_(False), processor


def _check_parts(config: PreTrainedConfig, operator: Any) -> None:
    unknown = set(operator) - {"", *config.sub_configs} if isinstance(operator, dict) else ()
    if unknown:
        raise ValueError(
            f"attn_implementation names parts of the configuration, {', '.join(sorted(config.sub_configs))}; got "
            f"{', '.join(map(repr, sorted(unknown)))}."
        )


def _check_whole(name: str, missing: list[str]) -> None:
    if missing:
        raise ValueError(
            f"{name!r} cannot be loaded: {len(missing)} of its weights are not in the checkpoint ({missing[0]}, ...), "
            "and would be random: the files are incomplete, or of another model."
        )


def _check_family(name: str, config: PreTrainedConfig) -> None:
    """Refuse a model that cannot be hooked into for dropping, after a look at the same classes without weights."""
    family, shown = FAMILIES.get(config.model_type), [kind for kind, family in FAMILIES.items() if family.inputs]
    if family is None and config.model_type not in CROSS_ATTENTION:
        raise ValueError(
            f"{name!r} cannot be loaded: a model of type {config.model_type!r} is not supported; allowed: "
            f"{', '.join(shown)}. v2drop/models/families.py says how to add a family."
        )
    if family is not None and not family.inputs:
        raise ValueError(
            f"{name!r} cannot be loaded: it is a text model ({config.model_type}), and one for pictures and text is "
            "needed. Load it by transformers' AutoModelForCausalLM; method(model, vision_mask=mask) drops its tokens."
        )
    with _in_one_line(name, advice="The README lists the families that can be loaded."), torch.device("meta"):
        locate(AutoModelForImageTextToText.from_config(config))


def _processor(name: str) -> ProcessorMixin:
    lacking = [package for package in ("torchvision", "num2words") if find_spec(package) is None]
    hint = f"Without {' and '.join(lacking)} many processors cannot be made: pip install '.[processors]'. "
    with _in_one_line(name, "its processor cannot be made: ", (hint if lacking else "") + ADVICE):
        processor = AutoProcessor.from_pretrained(name, trust_remote_code=False)
        processor.tokenizer.padding_side = "left"
    return processor


@contextmanager
def _in_one_line(name: str, what: str = "", advice: str = ADVICE) -> Iterator[None]:
    """Turn errors of transformers into one line that says what to do."""
    try:
        yield
    except WRONG as error:
        if "trust_remote_code" in str(error):
            raise ValueError(
                f"{name!r} wants to run code of its own repository, which this toolkit does not do. Look for a "
                "conversion to transformers' own classes (often a repository whose name ends in -hf)."
            ) from error
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise ValueError(f"{name!r} cannot be loaded: {what}{reason}. {advice}".rstrip()) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' and accelerate's remarks, and the progress bar of reading weights."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    accelerate = getLogger("accelerate")
    level = accelerate.level
    accelerate.setLevel(ERROR)
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # of reading weights from disk; downloads still show theirs
    try:
        yield
    finally:
        accelerate.setLevel(level)
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
