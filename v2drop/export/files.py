"""Files of kept positions, as JSON or as safetensors; `v2drop/README.md` has the format."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from v2drop.budgets.schedule import Schedule
from v2drop.export.kept_positions import KeptPositions, KeptPrompt

FORMAT, VERSION = "v2drop.kept_positions", 1
ENDS = (".json", ".safetensors")
SPLITS = ".splits"  # where each prompt's positions begin in a tensor of all prompts, and the end


def write_kept(path: str | os.PathLike, kept: KeptPositions) -> None:
    """Write kept positions to a file, whole or not at all.

    Args:
        path: the file; its name ends in .json or .safetensors, which says the format. Its folder is made.
        kept: what a method kept (`kept_positions`).

    Raises:
        ValueError: the name has another end, or the file cannot be written.
    """
    path = _path(path)
    draft = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            draft.write_text(json.dumps(_head(kept) | {"prompts": [_told(kept, each) for each in kept.prompts]}) + "\n")
        else:
            save_file(_tensors(kept), draft, {name: _text(value) for name, value in _head(kept).items()})
        os.replace(draft, path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"path must be a file that can be written; got {str(path)!r}: {error}.") from error
    finally:
        draft.unlink(missing_ok=True)


def read_kept(path: str | os.PathLike) -> KeptPositions:
    """Read a file of `write_kept` and check all that it says.

    Args:
        path: the file, .json or .safetensors.

    Raises:
        ValueError: it is not there or damaged, of another format or version, or contradicts itself.
    """
    path = _path(path)
    try:
        told = json.loads(path.read_text()) if path.suffix == ".json" else _read_tensors(path)
        if not isinstance(told, dict) or (told.get("format"), told.get("version")) != (FORMAT, VERSION):
            got = (told.get("format"), told.get("version")) if isinstance(told, dict) else told
            raise ValueError(f"it must have the format {FORMAT!r}, version {VERSION}; got {got}")
        return _checked(told)
    except (OSError, LookupError, TypeError, AttributeError, ValueError, SafetensorError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise ValueError(f"path must be a file of kept positions; got {str(path)!r}: {said}.") from error


def _head(kept: KeptPositions) -> dict[str, Any]:
    schedule = {"left": {str(layer): amount for layer, amount in kept.schedule.left.items()}}
    return {
        "format": FORMAT,
        "version": VERSION,
        "method": kept.method,
        "schedule": schedule | {"least": kept.schedule.least, "label": kept.schedule.label},
        "positions": kept.positions if isinstance(kept.positions, str) else list(kept.positions),
        "n_layers": kept.n_layers,
        "average_tokens": kept.average_tokens,
    }


def _told(kept: KeptPositions, prompt: KeptPrompt) -> dict[str, Any]:
    return {
        "length": prompt.length,
        "vision": list(prompt.vision),
        "kept": {str(layer): list(left) for layer, left in prompt.kept.items()},
        "lengths": prompt.lengths(kept.n_layers),
    }


def _checked(told: dict[str, Any]) -> KeptPositions:
    """Kept positions of what a file says, whose sums must be those that follow from the positions."""
    schedule = told["schedule"]
    left = {int(layer): amount for layer, amount in schedule["left"].items()}
    prompts = [
        KeptPrompt(each["length"], each["vision"], {int(layer): kept for layer, kept in each["kept"].items()})
        for each in told["prompts"]
    ]
    schedule = Schedule(left, schedule["label"], schedule["least"])
    kept = KeptPositions(told["method"], schedule, told["positions"], told["n_layers"], prompts)
    lengths = [prompt.lengths(kept.n_layers) for prompt in prompts]
    if [each["lengths"] for each in told["prompts"]] != lengths or told["average_tokens"] != kept.average_tokens:
        raise ValueError(
            f"lengths and average_tokens must be {lengths} and {kept.average_tokens}, as its positions say"
        )
    return kept


def _text(value: Any) -> str:
    """A value of the head as safetensors takes it: texts as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _tensors(kept: KeptPositions) -> dict[str, Tensor]:
    lists = {"vision": [prompt.vision for prompt in kept.prompts]}
    for layer in kept.prompts[0].kept:
        lists[f"kept.{layer}"] = [prompt.kept[layer] for prompt in kept.prompts]
    tensors = {
        "length": _int32([prompt.length for prompt in kept.prompts]),
        "lengths": _int32([prompt.lengths(kept.n_layers) for prompt in kept.prompts]),
    }
    for name, rows in lists.items():
        counts = torch.tensor([0, *map(len, rows)])
        tensors[name] = _int32([position for row in rows for position in row])
        tensors[name + SPLITS] = counts.cumsum(0).int()
    return tensors


def _int32(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def _read_tensors(path: Path) -> dict[str, Any]:
    """What a file of tensors says, as the JSON of the same says it."""
    with safe_open(path, "pt") as file:
        head = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    if any(tensor.dtype != torch.int32 for tensor in tensors.values()):
        raise ValueError(f"its tensors must be int32; got { {name: each.dtype for name, each in tensors.items()} }")
    told = {name: text if name in ("format", "method") else _value(text) for name, text in head.items()}
    lists = [name.removesuffix(SPLITS) for name in tensors if name.endswith(SPLITS)]
    rows = {name: _rows(tensors, name) for name in lists}
    told["prompts"] = [
        {
            "length": length,
            "vision": rows["vision"][number],
            "kept": {name.removeprefix("kept."): each[number] for name, each in rows.items() if name != "vision"},
            "lengths": tensors["lengths"][number].tolist(),
        }
        for number, length in enumerate(tensors["length"].tolist())
    ]
    return told


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text  # "keep" and "repack"


def _rows(tensors: dict[str, Tensor], name: str) -> list[list[int]]:
    """The positions of each prompt."""
    values, splits = tensors[name].tolist(), tensors[name + SPLITS].tolist()
    if splits[0] != 0 or splits[-1] != len(values) or splits != sorted(splits):
        raise ValueError(f"{name}{SPLITS} must ascend from 0 to {len(values)}; got {splits}")
    if len(splits) != len(tensors["length"]) + 1:
        raise ValueError(f"{name}{SPLITS} must have a place more than there are prompts; got {splits}")
    return [values[first:last] for first, last in pairwise(splits)]


def _path(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)) or Path(path).suffix not in ENDS:
        raise ValueError(f"path must be a file whose name ends in {' or '.join(ENDS)}; got {path!r}.")
    return Path(path).expanduser()
