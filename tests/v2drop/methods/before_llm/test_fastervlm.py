"""FasterVLM against its formula written out."""

import pytest
import torch

from tests.support.before_llm_reference import CASES, embedded, expected, kept, run, seen_by_tower, shared
from v2drop import METHODS, Schedule
from v2drop.contract.toys import batch, toy

FasterVLM = METHODS["fastervlm"]


@pytest.mark.parametrize("seed", range(4))
@CASES
def test_fastervlm_is_the_formula(pattern, left, seed):
    model, data = toy("llava"), batch("llava", [pattern], seed=seed)
    tokens = torch.randint(4, 64, (3,))
    pictures, positions = [], []
    for i, (states, (start, quota)) in enumerate(zip(embedded(model, data), shared(data, left), strict=True)):
        weights = seen_by_tower(model, data.inputs["pixel_values"][i])[1]
        score = [sum(float(head[0, 1 + patch]) for head in weights) / len(weights) for patch in range(len(states))]
        best = sorted(sorted(range(len(score)), key=lambda patch, score=score: -score[patch])[:quota])
        pictures.append(states[best])
        positions += [start + patch for patch in best]
    found, trace = run(FasterVLM(Schedule({0: left})), data, tokens)
    assert kept(trace) == positions
    torch.testing.assert_close(found, expected(model, data, tokens, pictures), atol=1e-4, rtol=1e-4)


def test_a_score_is_the_mean_weight_of_the_class_token():
    model, data = toy("llava"), batch("llava", ["it"])
    weights = seen_by_tower(model, data.inputs["pixel_values"][0])[1]
    with FasterVLM(Schedule({0: 4}))(model) as trace:
        model(**data.inputs)
    torch.testing.assert_close(trace.scores[0][0], weights[:, 0, 1:].mean(0).float(), atol=1e-6, rtol=1e-5)
    assert trace.scores[0].sum() < 1  # the class token's weight on itself is missing


def test_another_feature_layer_gives_other_attention():
    """The layer is found from the config: hidden_states[i] is the output of layer i - 1."""
    model, data = toy("llava"), batch("llava", ["it"])
    original, scores = model.config.vision_feature_layer, {}
    try:
        for number in (-1, -2, 4):
            model.config.vision_feature_layer = number
            with FasterVLM(Schedule({0: 4}))(model) as trace:
                model(**data.inputs)
            scores[number] = trace.scores[0]
    finally:
        model.config.vision_feature_layer = original
    assert not torch.equal(scores[-1], scores[-2])
    assert torch.equal(scores[4], scores[-2])
