"""Tasks of lmms-eval beside POPE on the same local file: choices, rounds, and a film shown instead of the picture."""

import av
import numpy as np

COMMON = """\
task: {name}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {folder}/pope_mosaic.parquet
test_split: test
doc_to_visual: !function {name}_functions.{shown}
output_type: {kind}
doc_to_target: answer
"""
CHOICES = """\
doc_to_text: "{{question}}"
doc_to_choice: ["yes", "no"]
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
GENERATED = """\
doc_to_text: !function {name}_functions.asked
generation_kwargs:
  max_new_tokens: 8
process_results: !function {name}_functions.marked
metric_list:
  - metric: replies
    aggregation: !function {name}_functions.joined
    higher_is_better: true
"""
FUNCTIONS = """\
def picture(doc):
    return [doc["image"].convert("RGB")]


def film(doc):
    return ["FOLDER/film.mp4"]


def asked(doc, lmms_eval_specific_kwargs=None, previous_output=None, round_idx=None, previous_round_info=None):
    if round_idx is None:
        return doc["question"]
    if round_idx == 2:
        return None, None, True, previous_output, None
    return picture(doc), doc["question"], False, previous_output, None


def marked(doc, results):
    return {"replies": " ".join(results[0] if isinstance(results[0], list) else results)}


def joined(replies):
    return len(replies)
"""


def write_others(folder):
    """choices_mosaic, rounds_mosaic and film_mosaic, in the folder of `mosaic_pope.write_task`."""
    film(folder / "film.mp4", 20)
    for name, kind, shown, rest in (
        ("choices_mosaic", "multiple_choice", "picture", CHOICES),
        ("rounds_mosaic", "generate_until_multi_round", "picture", GENERATED),
        ("film_mosaic", "generate_until", "film", GENERATED),
    ):
        rest = rest if rest is CHOICES else rest.format(name=name)
        (folder / f"{name}.yaml").write_text(COMMON.format(name=name, folder=folder, kind=kind, shown=shown) + rest)
        (folder / f"{name}_functions.py").write_text(FUNCTIONS.replace("FOLDER", str(folder)))


def film(path, n):
    """Write a film of n frames, each of one shade of grey; the shades."""
    shades = np.linspace(20, 235, n)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 48, 32, "yuv420p", 4_000_000
        for shade in shades:
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), round(shade), np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return shades
