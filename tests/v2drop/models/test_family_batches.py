"""A batch equals its rows: pictures of other sizes and counts, videos, rows without any, in every family."""

import pytest
import torch

from tests.support import zoo
from v2drop import METHODS, Schedule

ROWS = {
    "text": ["tvvvvvvvttt", "tvvvtvvvvvvvvt", "ttt"],
    "pictures": ["titttt", "ttiit", "ttt"],
    "videos": ["tvttt", "tt"],
}


def batches(name):
    if name in zoo.TEXT_ONLY:
        return [ROWS["text"]]
    if name.startswith("paligemma"):  # its processor writes a prompt without a picture otherwise when it is alone
        return [ROWS["pictures"][:2]]
    return [ROWS["pictures"], *([ROWS["videos"]] if "video" in zoo.kinds(name) else [])]


@pytest.mark.parametrize("method", ["v2drop", "random", "fastv"])
@pytest.mark.parametrize("name", zoo.BUILD)
def test_a_batch_equals_its_rows_alone(name, method):
    model, method = zoo.model(name, "eager"), METHODS[method](Schedule({1: 0.5, 3: 0.2}))
    for rows in batches(name):
        data = zoo.prompt(name, rows)
        with method(model, **data.options) as trace:
            together = zoo.greedy(model, data, 2)[1]
        for number in range(len(rows)):
            single = zoo.prompt(name, rows, alone=number)
            with method(model, **single.options) as alone:
                logits = zoo.greedy(model, single, 2)[1]
            torch.testing.assert_close(together[number], logits[0], atol=3e-5, rtol=1e-5)
            padding = data.present.shape[1] - single.present.shape[1]
            for layer, kept in alone.kept.items():
                found = [place - padding for place in trace.kept[layer][number].tolist() if place >= 0]
                assert found == [place for place in kept[0].tolist() if place >= 0]
