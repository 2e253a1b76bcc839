"""The recorded impact in groups: made again from its settings, and gone on with after a kill, by the same bytes."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlavaForConditionalGeneration

from analysis import group_summary, inclusion_impact, load_group_impact, sample, scored, shapley_impact
from analysis.confirmation import confirmatory_seed
from analysis.group_impact import sweep
from analysis.group_impact.sweep import one_question, run_sweep
from analysis.models.checkpoints import folders
from analysis.subjects import SUBJECTS
from analysis.work_folders import TABLES, checksum

QUESTION_SEED = confirmatory_seed("03_variation_impact_theorem")
N = 3


@pytest.fixture(scope="module")
def tiny(embedded):
    """A decoder of four layers with random weights, behind the embedded model's processor."""
    config = copy.deepcopy(embedded.model.config)
    config.text_config.num_hidden_layers = 4
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return replace(embedded, name="tiny", model=LlavaForConditionalGeneration(config).eval().requires_grad_(False))


@pytest.fixture(scope="module", autouse=True)
def few():
    """Settings under which a question takes a second."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sweep, "SUBSETS", 40)
        patched.setattr(sweep, "SHAPLEY_PAIRS", 2)
        yield


@pytest.fixture(scope="module")
def recorded(tiny, few, tmp_path_factory):
    """A sweep that was killed at its second question, and called again."""
    folder, made = tmp_path_factory.mktemp("recorded"), []

    def killed(*args, **_):
        made.append(args)
        if len(made) == 2:
            raise KeyboardInterrupt
        return one_question(*args)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sweep, "one_question", killed)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(tiny, folder, N)
        assert [path.name for path in folder.glob(TABLES)] == ["question_000.csv.gz"]
        run_sweep(tiny, folder, N)
    assert len(made) == N + 1
    return folder


def test_a_sweep_that_was_killed_gives_the_bytes_of_one_that_was_not(recorded, tiny, tmp_path):
    run_sweep(tiny, tmp_path, N)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in recorded.iterdir())
    assert names[-N:] == [f"question_{number:03}.csv.gz" for number in range(N)]
    for name in names:
        assert (tmp_path / name).read_bytes() == (recorded / name).read_bytes(), name


def test_a_slice_is_made_again(recorded, tiny):
    """From the card's settings, by the functions that a user calls."""
    stored, settings = load_group_impact(recorded), json.loads((recorded / "group_sweep.settings.json").read_text())
    asked, seed = sample(N, seed=settings["question_seed"])[2:], settings["seed"]
    ratios = [float(ratio) for ratio in settings["ratios"].split()]
    again = [inclusion_impact(tiny, asked, 1, ratios, settings["subsets"], seed)]
    again += [shapley_impact(tiny, asked, 1, settings["shapley_pairs"], seed)]
    for table in again:
        rows = stored[(stored["sample"] == 2) & (stored.layer == 1) & stored.effect.isin(table.effect)]
        assert rows.effect.tolist() == table.effect.tolist() and rows.token.tolist() == table.token.tolist()
        assert (rows.kind == asked[0][1].kind).all()
        for name in table.select_dtypes(float):
            np.testing.assert_allclose(rows[name], table[name], rtol=1e-3, atol=1e-6, err_msg=name)


def test_every_question_layer_effect_and_token_is_recorded_once(recorded):
    stored = load_group_impact(recorded)
    assert not stored.duplicated(["sample", "layer", "effect", "token"]).any()
    sizes = stored.groupby(["sample", "layer", "effect"]).size()
    assert (sizes == 144).all() and len(sizes) == N * (3 * 2 + 1)
    assert stored.layer.unique().tolist() == [0, 1, 2]  # of four layers: drops at 1, 1, 2 and 3
    assert stored[stored.effect == "shapley"].layer.unique().tolist() == [1]


def test_recorded_effects_meet_the_criteria_of_the_same_questions(recorded, tiny):
    table = scored(tiny, sample(N, seed=QUESTION_SEED), [0, 1])
    summary = group_summary(load_group_impact(recorded), table, ["variation_l2", "attention_last"])
    assert (summary.n == N).all()
    assert set(summary.layer) == {0, 1} and summary["mean"].abs().max() < 1


def test_the_card_and_the_sums_are_written(recorded):
    lines = (recorded / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert set(sums) == {path.name for path in recorded.glob(TABLES)}
    for name, digest in sums.items():
        assert checksum(recorded / name) == digest
    card = (recorded / "README.md").read_text()
    settings = ("- subsets: 40", "- layers: 0 1 2", "- seed: 0")
    for said in ("for 3 held-out questions", *settings, f"torch {torch.__version__}", "cores"):
        assert said in card


def test_a_sweep_with_other_settings_is_refused(recorded, tiny, monkeypatch):
    monkeypatch.setattr(sweep, "SUBSETS", 41)
    with pytest.raises(ValueError, match=r"'group_sweep' of another run, made with subsets 40 \(now 41\)"):
        run_sweep(tiny, recorded, N)


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold what analysis.group_impact.sweep wrote; it holds no question_"):
        load_group_impact(tmp_path)


@pytest.mark.skipif(not folders.SMOLLM2.exists(), reason="make has not set SmolLM2 up: no package index")
def test_a_slice_of_the_effects_on_smollm2_is_made_again():
    subject, folder = SUBJECTS["smollm2"], sweep.RECORDED / "smollm2"
    loaded, stored = subject.load(), load_group_impact(subject="smollm2")
    assert json.loads((folder / "group_sweep.settings.json").read_text()) == sweep._settings(loaded, subject)
    assert sorted(stored["sample"].unique()) == list(range(10))
    shortest = int(stored.groupby("sample").token.nunique().idxmin())
    again = one_question(loaded, shortest, 10, [19], subject)
    there = stored[(stored["sample"] == shortest) & (stored.layer == 19)].reset_index(drop=True)
    assert there.token.tolist() == again.token.tolist() and set(again.effect) == {"inclusion@0.50"}
    np.testing.assert_allclose(there.value, again.value, rtol=1e-2, atol=1e-3)
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert all(checksum(folder / name) == digest for digest, name in (line.split("  ") for line in lines))
