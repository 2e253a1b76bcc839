"""What is recorded of every study: all cells, of today's models, and a slice of it made again."""

import pytest

from analysis.studies.cells.models import is_there
from analysis.studies.finding import changed, known_studies, study_of
from analysis.studies.reading import RECORDED, read_recorded, recorded
from analysis.studies.running import run

EVERY = pytest.mark.parametrize("name", known_studies())
N = 6  # questions of a slice


@EVERY
def test_every_cell_is_recorded_with_where_it_comes_from(name):
    for record in recorded(study_of(name)):
        where = record.provenance
        assert len(where.commit) == 40 and not where.dirty and where.seconds > 0 and where.threads >= 1
        assert where.dtype == "float32" and where.operator and where.hardware and where.device == "cpu"
    assert not list((RECORDED / name).glob("*.part"))


@EVERY
def test_a_slice_made_again_has_the_same_replies(name, tmp_path):
    """Two cells of each: the first and the last of the embedded model, which is quick."""
    study = study_of(name).only(lambda cell: cell["subject"] == "embedded" and cell.get("first", 0) == 0)
    ends = [study.cells[0], study.cells[-1]]
    again = run(changed(study.only(lambda cell: cell in ends), limit=N), tmp_path)
    arguments = [key for key in ("method", "average", "depths", "layers", "left", "options", "asked") if key in again]
    keys = [*arguments, "question", *(["draw"] if "draw" in again else [])]
    then = read_recorded(study).astype(dict.fromkeys(arguments, str))
    both = again.astype(dict.fromkeys(arguments, str)).merge(then, on=keys, suffixes=("", "_then"))
    assert len(both) == len(again) and (both.reply == both.reply_then).mean() > 0.95
    if "log_probability" in both:
        assert ((both.log_probability - both.log_probability_then).abs() < 0.01).mean() > 0.95


@pytest.mark.skipif(not is_there("smollm2"), reason="SmolLM2 is not set up")
def test_a_text_made_again_has_the_same_answer(tmp_path):
    study = study_of("layers").only(lambda cell: cell["subject"] == "smollm2" and cell["method"] == "fastv")
    again = run(changed(study.only(lambda cell: cell == study.cells[1]), limit=1), tmp_path)
    then = read_recorded(study).query("depths == @again.depths[0] and question == 0")
    assert list(again.reply) == list(then.reply)
    assert again.log_probability[0] == pytest.approx(then.log_probability.item(), abs=0.05)
