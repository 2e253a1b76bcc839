"""NaN and infinity are refused, with the layer and the row, before they decide which tokens stay."""

from dataclasses import dataclass

import pytest
import torch

from tests.support.fitted_methods import fitted, skip_unless_possible
from v2drop import METHODS, Schedule, V2Drop
from v2drop.contract.toys import batch, toy
from v2drop.methods.base import Method

HALF = Schedule({1: 0.5, 3: 0.25})
ROWS = {"llama": ["tvvvvtt", "tvvvvvvtttt"], "llava": ["titt", "tittt"]}


class Spoiled:
    """Sets one state at the output of a module to a value."""

    def __init__(self, module, row, column, value):
        self._place, self._value = (row, column, 0), value
        self._handle = module.register_forward_hook(self._spoil)

    def _spoil(self, module, args, output):
        output = output.clone()
        if output.shape[1] > 1:
            output[self._place] = self._value
        return output

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._handle.remove()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("family", ["llama", "llava"])
@pytest.mark.parametrize("name", METHODS)
def test_states_that_are_not_finite_are_refused_with_layer_and_row(name, family, value):
    skip_unless_possible(name, family)
    data, model, method = batch(family, ROWS[family]), toy(family), fitted(name, {1: 3, 3: 2})
    decoder = model.model if family == "llama" else model.model.language_model
    early = METHODS[name].before_llm
    module = model.get_input_embeddings() if early else decoder.layers[0]
    vision = int(data.vision[1].nonzero()[2])
    text = int(data.present.shape[1]) - 1
    for column in (text,) if early else (vision, text):  # the placeholders' embeddings are replaced
        with method(model, **data.options) as trace, Spoiled(module, 1, column, value):
            layer = 0 if early else 1
            with pytest.raises(ValueError, match=rf"layer {layer}, row 1: 1 of .* hidden states hold NaN or infinity"):
                model(**data.inputs)
        assert layer not in trace.kept
    with method(model, **data.options) as trace:
        model(**data.inputs)
    assert trace.kept


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_padding_may_hold_anything(value):
    data, model = batch("llama", ROWS["llama"]), toy("llama")
    with V2Drop(HALF)(model, **data.options) as trace:
        expected = model(**data.inputs).logits[:, -1]
        kept = trace.kept[3].tolist()
        with Spoiled(model.model.layers[0], 0, 0, value):  # row 0 is padded there
            model(**data.inputs)
    assert trace.kept[3].tolist() == kept and expected.isfinite().all()


def test_a_score_of_ones_own_that_is_nan_is_refused():
    @dataclass(frozen=True)
    class Broken(Method):
        def score(self, candidates):
            scores = candidates.hidden.float().norm(dim=-1)
            scores[1, 2] = torch.nan
            return scores

    data, model = batch("llama", ROWS["llama"]), toy("llama")
    with (
        Broken(HALF)(model, **data.options),
        pytest.raises(ValueError, match=r"Broken.score gave NaN at layer 1, row 1"),
    ):
        model(**data.inputs)
    data = batch("llama", ["tvvvvvvtttt", "tvvtt"])  # now it is padding
    with Broken(Schedule({1: 0.5}))(model, **data.options):
        model(**data.inputs)


NO_FLOATS = {
    "int64": lambda index: index,
    "bool": lambda index: index > 0,
    "list": lambda index: index.float().tolist(),
    "ndarray": lambda index: index.float().numpy(),
}


@pytest.mark.parametrize("kind", NO_FLOATS)
def test_scores_that_are_no_floats_are_refused(kind):
    """They have no NaN for the padding of `trace.scores`: there it would be True, or a foreign error."""

    @dataclass(frozen=True)
    class Own(Method):
        def score(self, candidates):
            return NO_FLOATS[kind](candidates.vision_index)

    data, model = batch("llama", ROWS["llama"]), toy("llama")
    with (
        Own(HALF)(model, **data.options),
        pytest.raises(ValueError, match=f"Own.score must give a tensor of floats, as torch.float32; got .*{kind}"),
    ):
        model(**data.inputs)
