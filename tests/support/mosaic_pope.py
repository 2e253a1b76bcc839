"""POPE's own task of lmms-eval on questions about mosaics: a local parquet file, a YAML that includes the official."""

import io
from importlib.util import find_spec
from pathlib import Path

import datasets
from PIL import Image

from analysis import sample

YAML = """\
include: {tasks}/pope/pope.yaml
task: {name}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {data}
generation_kwargs:
  max_new_tokens: {longest}
lmms_eval_specific_kwargs:
  default:
    pre_prompt: ""
    post_prompt: ""
"""


def yes_or_no(n, seed=0):
    """Pairs (scene, question) of which each can be answered by yes or no."""
    pairs = [pair for pair in sample(12 * n, seed=seed) if pair[1].answer in ("yes", "no")]
    assert len(pairs) >= n
    return pairs[:n]


def write_task(folder, pairs, name="pope_mosaic", longest=8):
    """The folder to give as `--include_path`, whose task asks these questions by POPE's rules."""
    folder.mkdir(exist_ok=True)
    rows = [
        {"question_id": str(i), "question": question.text, "answer": question.answer, "image": as_png(scene.image)}
        for i, (scene, question) in enumerate(pairs)
    ]
    columns = {key: datasets.Value("string") for key in ("question_id", "question", "answer")}
    features = datasets.Features(columns | {"image": datasets.Image()})
    datasets.Dataset.from_list(rows, features=features).to_parquet(folder / f"{name}.parquet")
    tasks = Path(find_spec("lmms_eval").origin).parent / "tasks"
    told = {"tasks": tasks, "name": name, "data": folder / f"{name}.parquet", "longest": longest}
    (folder / f"{name}.yaml").write_text(YAML.format(**told))
    return folder


def as_png(picture):
    """A picture as lossless bytes, as parquet files hold it."""
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}
