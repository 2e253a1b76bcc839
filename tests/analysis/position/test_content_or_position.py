"""Shifted pictures: every content visits every position once, and what is planted in pixels or places is found."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.comparison.kept_tokens import kept_at_layer
from analysis.criteria.scores import scored
from analysis.position import content_or_position
from analysis.position.content_or_position import content_position_shares, content_position_table, rankings_under_shifts
from analysis.scenes.drawing import PATCH
from analysis.scenes.questions import sample
from v2drop import Schedule, Uniform, V2Drop


def by_pixels(_, asked, layers, **__):
    """A table whose criteria are the patch's brightness, its place, and the sum of both."""
    frames = []
    for i, (scene, _) in enumerate(asked):
        patches = scene.image.astype(float).mean(2).reshape(12, PATCH, 12, PATCH).mean((1, 3)).flatten()
        keys = {"sample": i, "layer": layers[0], "token": range(144), "vision_index": range(144)}
        frames.append(pd.DataFrame({**keys, "content": patches + 1e-6 * np.arange(144), "place": np.arange(144.0)}))
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_what_is_planted_is_found(embedded, monkeypatch, step):
    def table(loaded, asked, layers, seed=0):
        return by_pixels(loaded, asked, layers).rename(columns={"content": "pixels"})

    monkeypatch.setattr(content_or_position, "scored", table)
    found = rankings_under_shifts(embedded, *sample(1)[0], [0], step, ["pixels", "place"])
    assert len(found) == (12 // step) ** 2 * 144
    assert content_position_shares(found, "pixels", step)["content"] > 0.999
    assert content_position_shares(found, "place", step)["position"] == pytest.approx(1)


def test_places_are_those_of_the_shifted_pictures_own_run(embedded):
    scene, question = sample(1)[0]
    found = rankings_under_shifts(embedded, scene, question, [0], step=6, criteria=["variation_l2"])
    moved = replace(scene, image=np.roll(scene.image, (6 * PATCH, 0), (0, 1)))
    direct = scored(embedded, [(moved, question)], [0]).variation_l2.rank(method="first") - 1
    down = found[288:432]  # the third of four: 0, right, down, both
    assert down.position.tolist() == list(range(144)) and down.content.iloc[0] == 72
    np.testing.assert_allclose(down.variation_l2, direct / 143, atol=1.01 / 143)  # near ties may fall either way


def test_decompositions_have_a_row_for_every_part_and_a_random_null(embedded):
    table = content_position_table(embedded, sample(2), [0, 3], step=4, criteria=["variation_l2", "random"])
    assert len(table) == 2 * 2 * 2 * 3
    np.testing.assert_allclose(table.groupby(["sample", "layer", "criterion"]).value.sum(), 1)
    mean = table.groupby(["criterion", "part"])[["value", "chance"]].mean()
    assert mean.loc[("random", "position"), "value"] == pytest.approx(0.1, abs=0.03)
    assert mean.loc[("random", "position"), "chance"] == pytest.approx(1 / 10)
    assert mean.loc[("random", "rest"), "chance"] == pytest.approx(8 / 10)
    assert table.value[table.criterion == "random"].is_unique  # every scene and layer has draws of its own


@pytest.mark.parametrize("step", [0, 5])
def test_steps_that_do_not_divide_the_grid_are_refused(embedded, step):
    with pytest.raises(ValueError, match=f"step must divide it; got 12 and {step}"):
        rankings_under_shifts(embedded, *sample(1)[0], [0], step)


def test_retained_tokens_are_the_ones_that_ran_on(embedded):
    asked, methods = sample(3), {"uniform": Uniform(Schedule({1: 36})), "none": V2Drop(Schedule({1: 0}))}
    table = kept_at_layer(embedded, asked, methods, layer=1)
    assert table.groupby(["sample", "criterion"]).kept.sum().unstack().to_numpy().tolist() == [[0, 36]] * 3
    uniform = table[(table["sample"] == 1) & (table.criterion == "uniform")]
    assert uniform["vision_index"][uniform.kept].tolist() == [2 + 4 * i for i in range(36)]
    assert uniform.token.tolist() == list(range(1, 145))
