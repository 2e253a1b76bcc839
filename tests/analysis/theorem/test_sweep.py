"""The recorded tables of the theorem: made by the script that is there, and what the notebook does with them."""

import copy
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.confirmation import confirmatory_seed
from analysis.criteria.scores import scored
from analysis.models.checkpoints import folders
from analysis.models.loading import EMBEDDED
from analysis.residual_stream.measured_tokens import layers_at
from analysis.scenes.ground_truth import token_labels
from analysis.scenes.questions import sample
from analysis.subjects import DEEP, SUBJECTS
from analysis.theorem import sweep
from analysis.theorem.statistics.assumptions import theorem_by_group
from analysis.theorem.statistics.summary import summarise_impact
from analysis.theorem.sweep import RECORDED, add_recorded_impact, load_recorded, one_question, run_sweep
from analysis.work_folders import checksum
from tests.support.impact_tables import synthetic
from tests.support.text_models import text_model

QUESTION_SEED = confirmatory_seed("03_variation_impact_theorem")
N = 60
KEYS = ["sample", "layer", "token"]
ROUNDED = {"_kl": 1e-10, "wer": 5e-7}  # what float32 leaves of divergences and of answers' changes, nats


@pytest.fixture(scope="module")
def tables():
    return load_recorded()


def test_a_slice_of_the_recorded_tables_is_made_again(tables, embedded):
    """A question and layers whose slopes do not hang on how a processor rounds.

    A slope is NaN where fewer than three remainders exceed ten times the one that rounding leaves, and that one differs
    from processor to processor. Behind layer 6 of this question the third largest is 9 to 113 times it, more than 25
    times for ten of the twelve tokens; behind the last layer there is no remainder on any processor.
    """
    number, layers = 7, [6, 11]
    again = one_question(embedded, number, N, layers)
    stored = tables[(tables["sample"] == number) & tables.layer.isin(layers)].reset_index(drop=True)
    assert list(stored.columns) == list(again.columns)
    for name in again.columns.drop("taylor_slope"):
        if again[name].dtype == float:
            near = {"rtol": 0.1, "atol": ROUNDED[name[-3:]]} if name[-3:] in ROUNDED else {"rtol": 1e-3, "atol": 1e-9}
            np.testing.assert_allclose(stored[name], again[name], err_msg=name, **near)
        else:
            assert stored[name].tolist() == again[name].tolist()
    for slopes in (stored.taylor_slope, again.taylor_slope):
        assert slopes[stored.layer == 6].notna().sum() >= 8 and slopes[stored.layer == 11].isna().all()
    assert (stored.taylor_slope - again.taylor_slope).abs().max() < 0.05


@pytest.mark.skipif(not folders.SMOLLM2.exists(), reason="make has not set SmolLM2 up: no package index")
def test_a_slice_of_the_tables_of_smollm2_is_made_again():
    subject, folder = SUBJECTS["smollm2"], RECORDED / "smollm2"
    loaded, stored = subject.load(), load_recorded(subject="smollm2")
    assert sorted(stored["sample"].unique()) == list(range(8))
    assert sorted(stored.layer.unique()) == subject.layers(loaded) and not stored.duplicated(KEYS).any()
    settings = json.loads((folder / "sweep.settings.json").read_text())
    assert settings["weights"] == sweep.weights_digest(loaded.model)
    shortest = int(stored.groupby("sample").token.nunique().idxmin())
    again = one_question(loaded, shortest, 8, [24], subject)
    there = stored[(stored["sample"] == shortest) & (stored.layer == 24)].reset_index(drop=True)
    assert there[[*KEYS, "label"]].equals(again[[*KEYS, "label"]])
    for name in ("variation_l2", "operator_norm", "gain_ratio", "revert_impact", "drop_impact", "token_norm"):
        np.testing.assert_allclose(there[name], again[name], rtol=2e-2, err_msg=name)


def test_every_question_layer_and_token_is_recorded_once_and_every_kind_as_often(tables):
    assert len(tables) == N * 12 * 144
    assert not tables.duplicated(["sample", "layer", "token"]).any()
    assert set(tables.groupby("kind")["sample"].nunique()) == {N // 10}


def test_the_recorded_tables_obey_the_algebra(tables):
    assert (tables.first_order_impact <= tables.predicted_impact * (1 + 1e-5)).all()
    assert (tables.loc[tables.layer == 11, ["operator_norm", "revert_impact", "drop_impact"]] == 0).all(axis=None)
    product = tables.operator_norm * tables.variation_l2
    np.testing.assert_allclose(tables.predicted_impact, product, rtol=2e-5)


def test_a_question_is_recorded_with_its_answer_and_what_its_tokens_show(embedded):
    table = one_question(embedded, 1, N, [5])
    scene, question = sample(N, split="test", seed=QUESTION_SEED)[1]
    shown = token_labels([(scene, question)], embedded.token_grids(scene.image)).label
    assert (table.label == "object").tolist() == (shown != "background").tolist()
    assert set(table.label) == {"object", "background"}
    answered = ["revert_answer", "drop_answer", "first_order_answer", "predicted_answer", "revert_kl", "drop_logits"]
    assert table[[*answered, "gain_ratio_same_label", "top_cosine_same_label"]].notna().all(axis=None)
    summary = summarise_impact(table, permutations=1)
    assert {"all", "object", "background", "between labels"} == set(summary.tokens)


def test_a_sweep_goes_on_where_it_was(embedded, tmp_path, monkeypatch):
    asked = []

    def fake(loaded, number, n, **_):
        asked.append(number)
        if number == 2 and len(asked) == 3:
            raise KeyboardInterrupt
        return pd.DataFrame({"sample": [number], "value": [1 / 3]})

    monkeypatch.setattr(sweep, "one_question", fake)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(embedded, tmp_path, 4)
    assert len(load_recorded(tmp_path)) == 2
    first = (tmp_path / "question_000.csv.gz").read_bytes()
    run_sweep(embedded, tmp_path, 4)
    assert asked == [0, 1, 2, 2, 3]
    assert (tmp_path / "question_000.csv.gz").read_bytes() == first
    tables = [f"question_00{i}.csv.gz" for i in range(4)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["SHA256SUMS", *tables, "sweep.settings.json"]
    (tmp_path / "question_000.csv.gz").unlink()
    run_sweep(embedded, tmp_path, 4)
    assert (tmp_path / "question_000.csv.gz").read_bytes() == first


def test_a_sweep_of_another_model_is_refused(embedded, tmp_path, monkeypatch):
    """The tables that were there stayed in the folder, those of two models side by side."""
    monkeypatch.setattr(sweep, "one_question", lambda loaded, number, n, **_: pd.DataFrame({"sample": [number]}))
    run_sweep(embedded, tmp_path, 1)
    other = replace(embedded, model=copy.deepcopy(embedded.model))
    next(other.model.parameters()).data[0] += 1e-3
    with pytest.raises(ValueError, match=r"'sweep' of another run, made with weights .* \(now .*another folder"):
        run_sweep(other, tmp_path, 2)
    assert len(load_recorded(tmp_path)) == 1
    run_sweep(embedded, tmp_path, 2)
    assert len(load_recorded(tmp_path)) == 2


def test_the_recorded_sweep_says_what_it_was_made_with(embedded):
    settings = json.loads((RECORDED / "sweep.settings.json").read_text())
    assert settings == {
        "weights": sweep.weights_digest(embedded.model),
        "question_seed": QUESTION_SEED,
        "taylor_tokens": sweep.TAYLOR_TOKENS,
        "outputs": sweep.OUTPUTS,
    }


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must hold what analysis.theorem.sweep wrote; it holds no question_"):
        load_recorded(tmp_path)


@pytest.mark.parametrize("folder", [RECORDED, RECORDED / "smollm2"], ids=["embedded", "smollm2"])
def test_the_tables_are_the_ones_that_were_listed(folder):
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert set(sums) == {path.name for path in folder.glob("*.csv.gz")}
    assert all(checksum(folder / name) == digest for name, digest in sums.items())


def test_the_card_names_the_script_and_the_machine():
    card = (RECORDED / "README.md").read_text()
    assert "python -m analysis.theorem.sweep --output data/variation_impact" in card and "AMD EPYC" in card


def test_tables_of_another_subject_are_in_a_folder_of_its_own(monkeypatch, tmp_path):
    (tmp_path / "smollm2").mkdir()
    pd.DataFrame({"sample": [3]}).to_csv(tmp_path / "smollm2" / "question_000.csv.gz", index=False)
    monkeypatch.setattr(sweep, "RECORDED", tmp_path)
    assert load_recorded(subject="smollm2")["sample"].tolist() == [3]
    with pytest.raises(ValueError, match="must hold what analysis.theorem.sweep wrote"):
        load_recorded()
    with pytest.raises(ValueError, match="subject must be"):
        load_recorded(subject="llava")


def test_groups_hold_the_tokens_they_are_named_for():
    table = synthetic(samples=4, layers=3, tokens=50)
    table["operator_norm"] = table.token + 1.0
    table["token_norm"] = np.where(table.token == 3, 100.0, 1.0)
    table["attention_last"] = np.where(table.token == 4, 0.5, 0.0)
    table["linear"] = np.where(table.token >= 45, 2.0, 1.1)
    table["revert_impact"] = table.first_order_impact * table.linear
    groups = theorem_by_group(table).set_index(["group", "statistic"])["mean"]
    sizes = groups.xs("tokens", level="statistic")
    assert sizes.to_dict() == {
        "all tokens": 150,
        "smallest Jacobian (tenth)": 15,
        "largest Jacobian (tenth)": 15,
        "sinks": 6,
        "first layer": 50,
        "last layer that matters": 50,
    }
    assert groups["largest Jacobian (tenth)", "linear_error"] == pytest.approx(1.0)
    assert groups["smallest Jacobian (tenth)", "linear_error"] == pytest.approx(0.1)


def test_a_group_without_tokens_says_so_and_nothing_else():
    groups = theorem_by_group(synthetic(samples=3, layers=2).assign(token_norm=1.0))
    none = groups[groups.group == "sinks"]
    assert none.statistic.tolist() == ["tokens"] and none["mean"].tolist() == [0.0]


def test_recorded_bounds_join_scores_by_the_tokens_rank_whatever_the_padding(tables, embedded):
    asked = sample(4, split="test", seed=QUESTION_SEED)
    scores = add_recorded_impact(scored(embedded, asked, [5]), embedded)
    stored = tables[(tables["sample"] < 4) & (tables.layer == 5)]
    assert scores.predicted_impact.tolist() == stored.predicted_impact.tolist()
    np.testing.assert_allclose(scores.variation_l2, stored.variation_l2, rtol=1e-3)


def test_another_model_has_no_recorded_bounds(embedded):
    other = replace(embedded, name="elsewhere")
    assert add_recorded_impact(pd.DataFrame({"sample": [0]}), other).predicted_impact.isna().all()


def test_recorded_bounds_may_be_joined_again_and_need_a_frame(embedded, without_type_checker):
    table = scored(embedded, sample(1, seed=QUESTION_SEED), [5])
    once = add_recorded_impact(table, embedded)
    pd.testing.assert_frame_equal(add_recorded_impact(once, embedded), once)
    for loaded in (embedded, replace(embedded, name="mine")):
        with pytest.raises(ValueError, match="the table must be a DataFrame; got NoneType"):
            add_recorded_impact(None, loaded)


def test_a_folder_is_named_by_any_path(tmp_path, without_type_checker):
    assert len(load_recorded(str(RECORDED))) == len(load_recorded())
    for wrong in (3, ["data"]):
        with pytest.raises(ValueError, match="folder must be the path of a folder; got"):
            load_recorded(wrong)
    with pytest.raises(ValueError, match="must hold what analysis.theorem.sweep wrote"):
        load_recorded(str(tmp_path))


def test_bounds_of_other_questions_are_not_attached(embedded):
    others = scored(embedded, sample(2, split="test", seed=1), [5])
    with pytest.raises(ValueError, match="must be those of the recorded questions"):
        add_recorded_impact(others, embedded)
    with pytest.raises(ValueError, match="must be those of the recorded questions"):
        add_recorded_impact(others.assign(sample=others["sample"] + 99), embedded)


def test_the_embedded_model_is_known_by_any_name(embedded, monkeypatch):
    monkeypatch.chdir(EMBEDDED.parent)
    table = scored(embedded, sample(1, split="test", seed=QUESTION_SEED), [5])
    assert add_recorded_impact(table, replace(embedded, name=EMBEDDED.name)).predicted_impact.notna().all()


def test_a_text_model_is_swept_by_its_answers_words():
    loaded, subject = text_model(), SUBJECTS["smollm2"]
    scene, question = subject.questions(2)[1]
    table = one_question(loaded, 1, 2, [1], subject)
    assert table.output.unique().tolist() == [f"logits of {len(subject.candidates(loaded))}"]
    assert len(table) == len(loaded.text_spans(scene.text)) and set(table.label) == {"object", "background"}
    assert (table["sample"] == 1).all() and table.kind.unique().tolist() == [question.kind]
    assert table.drop_answer.notna().all() and (table.norm_estimator == "exact").all()
    assert one_question(loaded, 1, 2, None, subject).layer.unique().tolist() == layers_at(loaded.n_layers, DEEP)
