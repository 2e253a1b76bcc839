"""Loading a checkpoint with its processor, by folder, hub id or one of the names of what lies in `data/`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from analysis.models.checkpoints import folders, smollm2
from analysis.models.loaded import Loaded
from analysis.models.text import LoadedText
from v2drop.methods.from_file import add_methods
from v2drop.models.torchvision_ops import usable

EMBEDDED = folders.EMBEDDED


def load(
    name_or_path: str | Path | None = None,
    *,
    dtype: torch.dtype | str | None = None,
    device_map: Any = None,
    attn_implementation: str | dict[str, str] | None = None,
) -> Loaded:
    """Load a checkpoint of any family in the README's table, without running code of its repository.

    A text model becomes a `LoadedText`, whose texts take the place of pictures.

    Args:
        name_or_path: A folder or a hub id; "smollm2" for the language model that `make` sets up, "mosaic_smollm2" for
            the LLaVA grafted on it; None for the environment variable V2DROP_MODEL, or without it the embedded model.
            With None, the methods of the Python file that V2DROP_METHODS names, if any, are added to `METHODS`, too.
        dtype: The dtype of the weights: a torch dtype, its name, or "auto" for the checkpoint's own; None for float32
            on a CPU and "auto" on a GPU.
        device_map: The devices of the layers as transformers' `from_pretrained` takes them ("auto", or a dict of
            modules), which needs accelerate; None for the GPU if there is one, else the CPU.
        attn_implementation: The attention operator ("eager", "sdpa", ...), or one for each part of the configuration,
            as {"vision_config": "sdpa"}; None for transformers' choice.

    Raises:
        ValueError: The checkpoint does not exist, cannot be reached, is damaged or fits neither its own configuration
            nor its processor, needs a package that is not installed or code of its own, or is not a supported
            model; SmolLM2 is not set up; an option does not exist on this machine; or as for `add_methods`.
    """
    if name_or_path is None and "V2DROP_METHODS" in os.environ:
        add_methods(os.environ["V2DROP_METHODS"])
    name = _name(name_or_path)
    usable()
    # Imported late: a torchvision that does not fit must be mended before any class of transformers is imported.
    from analysis.models.checkpoints import checkpoint, graft

    known = {"smollm2": folders.SMOLLM2, "mosaic_smollm2": folders.MOSAIC_SMOLLM2}
    folder = os.path.expanduser(known.get(name, name))
    if name == "mosaic_smollm2" or graft.is_graft(folder):
        return Loaded(name, *graft.read(str(folder), dtype, device_map, attn_implementation))
    if name == "smollm2":
        smollm2.check_set_up()
    model, processor = checkpoint.read(str(folder), dtype, device_map, attn_implementation)
    return (LoadedText if checkpoint.is_text_model(model.config) else Loaded)(name, model, processor)


def _name(given: Any) -> str:
    """The checkpoint that is asked for, by argument or environment."""
    what, value = "name_or_path", given
    if given is None:
        what, value = "V2DROP_MODEL", os.environ.get("V2DROP_MODEL", str(EMBEDDED))
    if not isinstance(value, (str, os.PathLike)) or not str(value).strip():
        raise ValueError(
            f"{what} must be a folder or a hub id; got {value!r}. For the embedded model, load() without V2DROP_MODEL."
        )
    return os.fspath(value)
