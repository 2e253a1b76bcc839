"""Reading a checkpoint, with all cheap checks before the weights are read.

Imports classes of transformers: to be imported after `v2drop.models.torchvision_ops.usable()`.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from analysis.models.checkpoints import processor_fit, weights
from analysis.models.checkpoints.load_options import (
    check_modules,
    check_parts,
    from_pretrained_options,
    only_local_files,
)
from analysis.models.checkpoints.one_line import ADVICE, in_one_line, quiet, refusal
from v2drop.models.families import FAMILIES
from v2drop.models.parts import CROSS_ATTENTION, locate

Processor = ProcessorMixin | PreTrainedTokenizerBase


def read(name: str, dtype: Any, device_map: Any, operator: Any) -> tuple[PreTrainedModel, Processor]:
    """The model, in evaluation mode and without gradients, and its processor; that of a text model is its tokenizer.

    Args:
        name: A folder or a hub id.
        dtype: The dtype of the weights; None for float32 on a CPU, the checkpoint's own on a GPU.
        device_map: The devices of the layers, as transformers takes them; None for a single device.
        operator: The attention operator, or one for each part of the configuration; None for transformers' choice.

    Raises:
        ValueError: An argument or the checkpoint is wrong; the message says how.
    """
    name = os.path.expanduser(name)
    with in_one_line(name):  # a name may be longer than a file system takes
        folder, file = Path(name).is_dir(), Path(name).is_file()
    if not folder and (file or name.startswith((".", "/", "~"))):
        raise ValueError(refusal(name, f"there is no such folder. {ADVICE}"))
    options = from_pretrained_options(dtype, device_map, operator)
    with quiet():
        source = {"trust_remote_code": False, "local_files_only": only_local_files(name)}
        with in_one_line(name):
            config = AutoConfig.from_pretrained(name, **source)
        check_parts(config, operator)
        check_modules(device_map, _without_weights(name, config))
        processor = _tokenizer(name, source) if is_text_model(config) else _processor(name, source, config)
        model = _model(name, _class(config), options | source)
        if device_map is None:
            model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        model.eval().requires_grad_(False)
        if not is_text_model(config):
            processor_fit.check_fit(name, model, processor)
    return model, processor


def is_text_model(config: PreTrainedConfig) -> bool:
    """Whether a supported model takes no pictures."""
    return config.model_type in FAMILIES and not FAMILIES[config.model_type].inputs


def _class(config: PreTrainedConfig) -> Any:
    return AutoModelForCausalLM if is_text_model(config) else AutoModelForImageTextToText


def _model(name: str, of: Any, options: dict[str, Any]) -> PreTrainedModel:
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # which the report then names
    with in_one_line(name):
        model, report = of.from_pretrained(name, **options)
    weights.check_report(name, report)
    weights.check_finite(name, model)
    return model


def _without_weights(name: str, config: PreTrainedConfig) -> PreTrainedModel:
    """The same classes on the meta device; a model that cannot be hooked into for dropping is refused."""
    if config.model_type not in (*FAMILIES, *CROSS_ATTENTION):
        raise ValueError(
            refusal(
                name,
                f"a model of type {config.model_type!r} is not supported; allowed: {', '.join(FAMILIES)}. "
                "v2drop/models/families.py says how to add a family.",
            )
        )
    with in_one_line(name, "no model can be made of its configuration: "), torch.device("meta"):
        model = _class(config).from_config(config)
    with in_one_line(name, advice="The README lists the families that can be loaded."):
        n_layers = len(locate(model).layers)
    if not n_layers:
        raise ValueError(refusal(name, "its configuration describes a decoder without layers (num_hidden_layers)."))
    return model


def _processor(name: str, source: dict[str, Any], config: PreTrainedConfig) -> ProcessorMixin:
    lacking = [package for package in ("torchvision", "num2words") if find_spec(package) is None]
    hint = f"Without {' and '.join(lacking)} many processors cannot be made: pip install '.[processors]'. "
    with in_one_line(name, "its processor cannot be made: ", (hint if lacking else "") + ADVICE):
        processor = AutoProcessor.from_pretrained(name, **source)
        processor.tokenizer.padding_side = "left"
    processor_fit.fill(processor, config)
    return processor


def _tokenizer(name: str, source: dict[str, Any]) -> PreTrainedTokenizerBase:
    with in_one_line(name, "its tokenizer cannot be made: "):
        tokenizer = AutoTokenizer.from_pretrained(name, padding_side="left", **source)
        if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):  # what some classes make of no file
            raise ValueError("there is no file with its words, tokenizer.json")
        if not tokenizer.is_fast:
            raise ValueError("it is one in Python alone, which cannot say where in a text a token stands")
        if tokenizer.pad_token is None:  # as with Llama and Mistral; padding is masked out, so any token will do
            tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
