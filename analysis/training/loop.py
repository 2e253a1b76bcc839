"""A training loop that shows its progress, writes a log, and continues from its last checkpoint."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from analysis.progress import progress_bar
from analysis.work_folders import claim, written_whole
from v2drop.arguments import number, whole_number

Metrics = dict[str, float]


class Fit:
    """AdamW with linear warm-up and cosine decay to zero, in float32, checkpointed as safetensors.

    Args:
        module: The module whose parameters are trained, where they require gradients.
        steps: The total number of optimiser steps, 1 or more.
        rate: The peak learning rate.
        folder: The folder of `<name>.safetensors` (module and optimiser) and `<name>.jsonl` (the log).
        name: The name of the stage.
        data: What else its weights depend on, by name: batch size, seed, the stages before.

    Raises:
        ValueError: The folder holds a checkpoint of this stage that was made with other steps, rate or data.
    """

    def __init__(
        self, module: nn.Module, steps: int, rate: float, folder: Path, name: str, data: Mapping[str, int]
    ) -> None:
        """Set up the optimiser; matrices decay by 0.05, vectors do not."""
        self.module, self.steps, self.rate = module, whole_number("steps", steps, 1), number("rate", rate, 0)
        self.checkpoint, self.log = folder / f"{name}.safetensors", folder / f"{name}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        claim(folder, name, {"steps": steps, "rate": rate, **data}, self.checkpoint.exists())
        self.trained = [p for p in module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in self.trained if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in self.trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))

    def run(
        self,
        loss_at: Callable[[int], tuple[Tensor, Metrics]],
        held_out: Callable[[], Metrics],
        every: int = 100,
    ) -> Metrics:
        """Train from the checkpoint, if there is one, to the last step; return the last held-out metrics.

        Raises:
            ValueError: `every`, the steps between two checkpoints, is no int of 1 or more.
        """
        every = whole_number("every", every, 1)
        start = self._resume()
        metrics = self._cut_log(start)
        for step in progress_bar(range(start, self.steps), initial=start, total=self.steps, desc=self.log.stem):
            self._set_rate(step)
            loss, training_metrics = loss_at(step)
            self.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.trained, 1.0)
            self.optimiser.step()
            if (step + 1) % every == 0 or step + 1 == self.steps:
                metrics = self._evaluate(held_out)
                self._write_log({"step": step + 1, "loss": loss.item(), "train": training_metrics, "held_out": metrics})
                self._save(step + 1)
        return metrics

    def _set_rate(self, step: int) -> None:
        warm_up = max(1, min(200, self.steps // 10))
        progress = max(0, step - warm_up) / max(1, self.steps - warm_up)
        rate = self.rate * min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * progress)))
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    @torch.no_grad()
    def _evaluate(self, held_out: Callable[[], Metrics]) -> Metrics:
        return held_out()

    def _cut_log(self, step: int) -> Metrics:
        """Cut what a killed run logged beyond its checkpoint; return the held-out metrics of the last line left."""
        lines = self.log.read_text().splitlines(keepends=True) if self.log.exists() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        if kept != lines:
            with written_whole(self.log) as draft:
                draft.write_text("".join(kept))
        return json.loads(kept[-1])["held_out"] if kept else {}

    def _write_log(self, record: dict) -> None:
        line = json.dumps(record, default=float)
        tqdm.write(line)
        with self.log.open("a") as file:
            file.write(line + "\n")

    def _save(self, step: int) -> None:
        state = self.module.state_dict()  # copied, for a parameter that has two names is written twice
        tensors = {f"module.{k}": v.detach().to("cpu", copy=True).contiguous() for k, v in state.items()}
        for i, parameter in enumerate(self.trained):
            for name, value in self.optimiser.state[parameter].items():
                tensors[f"optimiser.{i}.{name}"] = value.detach().cpu().contiguous()
        with written_whole(self.checkpoint) as draft:
            save_file(tensors, draft, metadata={"step": str(step)})

    def _resume(self) -> int:
        if not self.checkpoint.exists():
            return 0
        with safe_open(self.checkpoint, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            step = int(file.metadata()["step"])
        self.module.load_state_dict(
            {k.removeprefix("module."): v for k, v in tensors.items() if k.startswith("module.")}
        )
        device = self.trained[0].device
        for key in (k for k in tensors if k.startswith("optimiser.")):
            _, i, name = key.split(".")
            value = tensors[key]
            self.optimiser.state[self.trained[int(i)]][name] = value if name == "step" else value.to(device)
        return step
