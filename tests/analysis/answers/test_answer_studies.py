"""Recorded answers: what is asked, that a recording goes on where it was stopped, that it is what `accuracy` gives."""

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest

from analysis.answers import sweep
from analysis.answers.answer_studies import PHASES, STUDIES, AnswerStudy, answers
from analysis.answers.criterion_studies import PLANTED_INTO, STRENGTHS
from analysis.answers.sweep import CHUNK, RECORDED, ask_again, load_answers, run_sweep
from analysis.comparison.accuracy import NOTHING_DROPPED, accuracy
from analysis.comparison.answer_keys import OTHER_DRAWS, RANDOM_DRAWS, Key
from analysis.confirmation import confirmatory_seed
from analysis.models.checkpoints import folders
from analysis.models.loading import load
from analysis.scenes.questions import sample
from analysis.work_folders import TABLES, checksum
from v2drop import Random, Schedule, Stratified, V2Drop

N_TOKENS = 144
HALF = Schedule({1: 72})


def few_runs(loaded, questions, n_tokens):
    return {
        Key(NOTHING_DROPPED, n_tokens, "none"): None,
        Key("random", 72, "1"): Random(HALF),
        Key("stratified", 72, "1"): Stratified(HALF),
        Key("v2drop l2", 72, "1", 3): V2Drop(HALF),
    }


@pytest.fixture
def small(monkeypatch):
    """A study of few runs; 4 questions in a file."""
    monkeypatch.setitem(STUDIES, "small", AnswerStudy("01_quickstart", 8, few_runs))
    monkeypatch.setattr(sweep, "CHUNK", 4)


BY_SCHEDULE = ("budgets", "layers", "small_pictures", "large_pictures", "methods", "positions")


@pytest.mark.parametrize("name", BY_SCHEDULE)
def test_every_study_holds_the_model_itself_and_random_dropping_at_every_budget(embedded, name):
    runs = STUDIES[name].runs(embedded, sample(1), N_TOKENS)
    table = pd.DataFrame([(*key, isinstance(method, Random)) for key, method in runs.items()])
    table.columns = [*Key._fields, "random"]
    assert Key(NOTHING_DROPPED, N_TOKENS, "none") in runs and not table.duplicated([*Key._fields]).any()
    dropped = table[table.method != NOTHING_DROPPED]
    assert dropped.groupby(["budget", "layers"]).random.any().all()
    spaced = dropped[dropped.method.str.startswith("uniform")]
    assert (spaced.groupby(["method", "budget", "layers"]).draw.agg(list).map(len) == len(PHASES)).all()
    for (_, budget, layers, _), method in runs.items():
        if method is not None and layers not in ("own", "0"):
            assert method.schedule.average(N_TOKENS, embedded.n_layers) == pytest.approx(budget, abs=0.5)


@pytest.mark.parametrize(("name", "n_drops"), [("criteria", 4), ("jacobians", 4)])
def test_studies_of_criteria_drop_once_by_every_column_and_at_random(embedded, name, n_drops):
    runs = list(STUDIES[name].runs(embedded, sample(1), N_TOKENS))
    drops = {(key.budget, key.layers) for key in runs if key.method != NOTHING_DROPPED}
    methods = {key.method for key in runs} - {NOTHING_DROPPED}
    assert len(drops) == n_drops and {"variation_l2", "random"} <= methods
    assert len(runs) == 1 + n_drops * len(methods) and {key.draw for key in runs} == {0}


def test_a_planted_bias_draws_anew_for_every_draw_and_keeps_the_end_in_the_end(embedded):
    asked = sample(2)
    runs = STUDIES["planted"].runs(embedded, asked, N_TOKENS)
    counts = pd.Series([key.method.partition("+")[0] for key in runs if key.method != NOTHING_DROPPED]).value_counts()
    assert counts["random"] == RANDOM_DRAWS * len(STRENGTHS) and len(counts) == len(PLANTED_INTO)
    inputs = embedded.inputs([scene.image for scene, _ in asked], [question.text for _, question in asked])
    kept = {}
    for key in (Key("random+0", 48, "1", draw) for draw in (0, 1)):
        with runs[key]([0, 1])(embedded.model) as trace:
            embedded.model(**inputs)
        kept[key.draw] = trace.kept[1].tolist()
    with runs[Key("random+1", 48, "1", 5)]([0, 1])(embedded.model) as trace:
        embedded.model(**inputs)
    assert kept[0] != kept[1] and kept[0][0] != kept[0][1]
    last = [row[-48:] for row in embedded.vision_positions(inputs)]
    assert trace.kept[1].tolist() == last


def test_studies_ask_whole_files_of_every_kind():
    assert all(study.n_questions % CHUNK == 0 for study in STUDIES.values())
    wide = {name: study for name, study in STUDIES.items() if study.notebook != "07_real_decoder"}
    assert all(study.n_questions >= 400 and study.random_draws >= 16 for study in wide.values())
    assert all(study.n_questions >= 40 and study.random_draws >= 4 for study in STUDIES.values())


def test_answers_are_those_of_accuracy_with_keys_as_columns(embedded):
    asked = sample(4)
    found = answers(embedded, asked, few_runs(embedded, asked, N_TOKENS), STUDIES["budgets"], first=40)
    assert set(found.question) == {40, 41, 42, 43}
    plain = accuracy(embedded, asked, {"random": Random(HALF)}, draws=RANDOM_DRAWS)
    ours = found[found.method == "random"].reset_index(drop=True)
    for column in ("draw", "kind", "answer", "reply", "right", "average_tokens"):
        assert ours[column].tolist() == plain[column].tolist()
    counts = found.groupby("method").draw.nunique()
    assert counts["random"] == RANDOM_DRAWS and counts["stratified"] == OTHER_DRAWS and counts[NOTHING_DROPPED] == 1
    assert found[found.method == "v2drop l2"].draw.unique().tolist() == [3]


def test_a_recording_goes_on_where_it_was(embedded, small, tmp_path):
    run_sweep(embedded, "small", tmp_path)
    files = {file.name: file.read_bytes() for file in tmp_path.glob("*.csv.gz")}
    assert len(files) == 2
    (tmp_path / "question_001.csv.gz").unlink()
    run_sweep(embedded, "small", tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.csv.gz")} == files
    found, expected = load_answers("small", tmp_path), ask_again(embedded, "small", 1)
    names = ["method", "question", "draw", "reply", "right"]
    one = ask_again(embedded, "small", 1, n=1)[names]
    assert one.equals(expected.loc[expected.question == 4, names].reset_index(drop=True))
    with pytest.raises(ValueError, match="n must be .* got 5"):
        ask_again(embedded, "small", n=5)
    assert sorted(found.question.unique()) == list(range(8)) and found.layers.isin(["none", "1"]).all()
    again = found[found.question >= 4].reset_index(drop=True)
    assert again[["method", "question", "draw", "reply", "right"]].equals(
        expected[["method", "question", "draw", "reply", "right"]]
    )
    first = sample(1, "test", confirmatory_seed("01_quickstart"))[0][1]
    assert found[found.question == 0].answer.astype(str).unique().tolist() == [first.answer]


@pytest.fixture(scope="module")
def subjects(embedded):
    """A function from a study to the model that it asks; the test is skipped where that is not set up."""

    @cache
    def found(name):
        if name != "embedded" and not folders.SMOLLM2.exists():
            pytest.skip("make has not set SmolLM2 up: no package index")
        return embedded if name == "embedded" else load(name)

    return found


@pytest.mark.parametrize("name", STUDIES)
def test_what_is_recorded_is_whole_and_of_this_model(subjects, name):
    folder = RECORDED / name
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    sums = {file: digest for digest, file in (line.split("  ") for line in lines)}
    assert set(sums) == {path.name for path in folder.glob(TABLES)}
    assert all(checksum(folder / file) == digest for file, digest in sums.items())
    settings = json.loads((folder / f"{name}.settings.json").read_text())
    found = load_answers(name)
    assert sorted(found.question.unique()) == list(range(STUDIES[name].n_questions))
    if STUDIES[name].subject != "smollm2":
        kinds = found.drop_duplicates("question").kind.value_counts()
        assert len(kinds) == 10 and kinds.nunique() == 1
    assert settings == sweep._settings(subjects(STUDIES[name].subject), name)


@pytest.mark.parametrize("name", STUDIES)
def test_a_slice_of_what_is_recorded_is_made_again(subjects, name):
    loaded = subjects(STUDIES[name].subject)
    sized, asked, runs = sweep._prepared(loaded, name, sweep._questions(name, 4))
    again = answers(sized, asked, dict([*runs.items()][:: len(runs) // 4]), STUDIES[name])
    both = again.merge(
        load_answers(name), on=["method", "budget", "layers", "question", "draw"], suffixes=("", "_then")
    )
    assert len(both) == len(again) and both.answer.astype(str).equals(both.answer_then.astype(str))
    alike = np.isclose(both.log_probability, both.log_probability_then, rtol=1e-3, atol=1e-4)
    assert alike.mean() >= 0.9  # where two scores are all but equal, another processor may keep another token


def test_wrong_studies_and_folders_are_refused(embedded, tmp_path, without_type_checker):
    with pytest.raises(ValueError, match="study must be one of 'budgets', .*; got 'all'"):
        run_sweep(embedded, "all", tmp_path)
    with pytest.raises(ValueError, match="must hold what analysis.answers.sweep wrote"):
        load_answers("budgets", tmp_path)
    with pytest.raises(ValueError, match="loaded must be a model with its processor"):
        run_sweep(embedded.model, "budgets", tmp_path)
