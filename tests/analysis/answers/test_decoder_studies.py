"""Studies of one drop at each depth, on texts too, and sinks that are kept."""

import pytest

from analysis.answers import sweep
from analysis.answers.answer_studies import STUDIES
from analysis.answers.decoder_studies import SINKS_KEPT
from analysis.comparison.accuracy import NOTHING_DROPPED
from analysis.criteria.scores import CRITERIA
from analysis.scenes.facts import text_sample
from tests.support.text_models import text_model

TEXT = [name for name, study in STUDIES.items() if study.subject == "smollm2"]


@pytest.mark.parametrize("name", TEXT)
def test_every_drop_leaves_its_share_of_each_text(name):
    frame = sweep._asked(text_model(), name, text_sample(2), 0)
    plain = frame[frame.method == NOTHING_DROPPED].set_index("question").average_tokens
    dropped = frame[frame.method != NOTHING_DROPPED]
    n_layers = text_model().n_layers
    for row in dropped.itertuples():
        before, n = int(row.layers), plain[row.question]
        left = row.average_tokens * n_layers - before * n  # over the layers behind the drop
        assert left / (n_layers - before) == pytest.approx(row.budget * n, abs=1)
    methods = set(dropped.method)
    assert {"variation_l2", "random", "uniform", "attention_last"} <= methods
    assert methods >= ({*CRITERIA} if name == "depths_smollm2" else {SINKS_KEPT.format("variation_l2")})
    assert set(dropped.budget) == ({1 / 2, 1 / 4} if name == "depths_smollm2" else {1 / 2})
    assert (dropped[dropped.method == "random"].groupby(["question", "layers", "budget"]).size() == 4).all()
    starts = plain - [len(text_model().text_spans(scene.text)) for scene, _ in text_sample(2)]
    assert (starts == STUDIES[name].drops_start).all()


def test_another_kind_of_model_is_refused(embedded):
    with pytest.raises(ValueError, match="must be a text model"):
        sweep.study_answers(embedded, "depths_smollm2", n=1)
