"""Impact in groups on many held-out questions: `python -m analysis.group_impact.sweep --output data/group_impact`.

One file for each question, written whole or not at all: a sweep that was stopped goes on where it was. The questions
are those of `analysis.theorem.sweep`, so that both tables can be joined (`analysis.group_summary`).
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from analysis.confirmation import confirmatory_seed
from analysis.group_impact.effects import DEPTHS, inclusion_impact, shapley_impact
from analysis.models.checkpoints.folders import DATA
from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.residual_stream.measured_tokens import layers_at
from analysis.subjects import SUBJECTS, Subject
from analysis.theorem.sweep import command, recorded_folder, weights_digest
from analysis.work_folders import TABLES, check_writable, read_tables, record_tables, written_whole

SEED, SUBSETS, RATIOS = 0, 640, (1 / 3, 1 / 2)
SHAPLEY_PAIRS, SHAPLEY_DEPTH = 8, 1 / 2
DEEP_SUBSETS, DEEP_RATIOS = 192, (1 / 2,)  # for subjects of many layers, of which no Shapley values are recorded
RECORDED = DATA / "group_impact"
CPUS = Path("/proc/cpuinfo")
CARD = """# Impact of tokens in groups

The tables of {tables} for {n} held-out questions, one file a question:
what every vision token, or token of a text, adds to the log probability of the right answer (nats) when only some of
them stay behind a layer. Columns are described at these functions; `sample` is the question's number, `kind` its kind.
Six significant digits.

```sh
.venv/bin/python -m analysis.group_impact.sweep{options}   # stop it and call it again to go on
```

{settings}

Made with Python {python}, torch {torch}, transformers {transformers} and numpy {numpy}, in float32, on
{machine}. Another machine gives other last digits; `tests/analysis/group_impact/test_sweep.py` shows how a slice is
made again. Numbers only, made from this project's own model and scenes; Apache-2.0 like the rest. `SHA256SUMS` lists
the files; `group_sweep.settings.json` holds the checksum of the model's weights, so that a sweep of another model is
not mixed in.
"""


def one_question(
    loaded: Loaded, number: int, n: int, layers: list[int] | None = None, subject: Subject = SUBJECTS["embedded"]
) -> pd.DataFrame:
    """The table of question `number` of a subject's first n; its column sample is that number, kind the question's.

    Args:
        loaded: Model and processor.
        number: The question's number.
        n: The number of questions.
        layers: Layers of the inclusion effects; None for those of the sweep.
        subject: Where the questions are from.
    """
    asked = subject.questions(n)[number : number + 1]
    layers = _layers(loaded, subject) if layers is None else layers
    if subject.depths is not None:
        parts = [inclusion_impact(loaded, asked, layers, DEEP_RATIOS, DEEP_SUBSETS, SEED)]
    else:
        deep = layers_at(loaded.n_layers, [SHAPLEY_DEPTH])
        parts = [
            inclusion_impact(loaded, asked, layers, RATIOS, SUBSETS, SEED),
            shapley_impact(loaded, asked, deep, SHAPLEY_PAIRS, SEED),
        ]
    return pd.concat(parts, ignore_index=True).assign(sample=number, kind=asked[0][1].kind)


def run_sweep(loaded: Loaded, folder: Path, n: int, subject: Subject = SUBJECTS["embedded"]) -> None:
    """Write the tables of a subject's first n questions that are not there yet, the folder's README and checksums.

    Raises:
        ValueError: The folder cannot be written to, or holds tables of another model or other settings.
    """
    check_loaded(loaded)
    check_writable("--output", folder)
    settings = _settings(loaded, subject)
    record_tables(folder, "group_sweep", settings, n, lambda number: one_question(loaded, number, n, subject=subject))
    with written_whole(folder / "README.md") as draft:
        draft.write_text(_card(settings, len([*folder.glob(TABLES)]), subject))


def load_group_impact(folder: str | Path | None = None, subject: str = "embedded") -> pd.DataFrame:
    """All tables of a sweep in one frame: the columns of `inclusion_impact`, and kind.

    Args:
        folder: The folder that `python -m analysis.group_impact.sweep` wrote to; None for the subject's under data/.
        subject: A key of `analysis.SUBJECTS`.

    Raises:
        ValueError: There is no such subject, or the folder holds no table.
    """
    return read_tables(recorded_folder(RECORDED, subject) if folder is None else folder, "analysis.group_impact.sweep")


def _layers(loaded: Loaded, subject: Subject) -> list[int]:
    """The layers of the inclusion effects; of a deep subject every other one at which the theorem is tested."""
    return layers_at(loaded.n_layers, DEPTHS if subject.depths is None else subject.depths[::2])


def _settings(loaded: Loaded, subject: Subject) -> dict[str, str | int]:
    """Everything that the tables depend on but the machine."""
    deep = subject.depths is not None
    ratios, subsets = (DEEP_RATIOS, DEEP_SUBSETS) if deep else (RATIOS, SUBSETS)
    shared = {
        "weights": weights_digest(loaded.model),
        "question_seed": confirmatory_seed(subject.notebook),
        "seed": SEED,
        "layers": " ".join(map(str, _layers(loaded, subject))),
        "ratios": " ".join(map(str, ratios)),  # all digits: a third of 144 tokens is one more than .3333 of them
        "subsets": subsets,
    }
    if deep:
        return shared
    shapley = " ".join(map(str, layers_at(loaded.n_layers, [SHAPLEY_DEPTH])))
    return shared | {"shapley_layers": shapley, "shapley_pairs": SHAPLEY_PAIRS}


def _card(settings: dict[str, str | int], n: int, subject: Subject) -> str:
    listed = "\n".join(f"- {name}: {value}" for name, value in settings.items())
    versions = {package: version(package) for package in ("torch", "transformers", "numpy")}
    deep = subject.depths is not None
    tables = "`analysis.inclusion_impact`" + ("" if deep else " and `analysis.shapley_impact`")
    folder = f"data/group_impact/{subject.name}" if deep else "data/group_impact"
    options = (f" --subject {subject.name} --questions {n}" if deep else "") + f" --output {folder}"
    machine = {"python": platform.python_version(), "machine": _machine()}
    return CARD.format(n=n, settings=listed, tables=tables, options=options, **machine, **versions)


def _machine() -> str:
    """The processor by its name, where the system tells it."""
    lines = CPUS.read_text().splitlines() if CPUS.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or "a processor"
    return f"{name} ({platform.machine()}, {os.cpu_count()} cores)"


def main() -> None:
    """Read the command line and sweep."""
    command(__doc__.splitlines()[0], run_sweep, questions=40)


if __name__ == "__main__":
    main()
