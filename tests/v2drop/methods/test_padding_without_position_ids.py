"""No score depends on where a row starts: a left-padded row in a plain call keeps the tokens that it keeps alone.

Without position ids, transformers counts padding too, so a padded row stands at other absolute positions than alone.
"""

import pytest
import torch

from tests.support.fitted_methods import fitted, skip_unless_possible
from v2drop import DART, METHODS, DyCoke, FastV, Schedule, SparseVLMPlus
from v2drop.contract.toys import IMAGE_TOKENS, batch, toy

PADDING = (1, 5, 23)
TEXT = "t" + "v" * 24 + "tttttt"
CASES = {name: fitted(name, {1: 0.5, 3: 0.25}) for name in METHODS} | {
    "fastv, debias": FastV(Schedule({1: 0.5, 3: 0.25}), debias=True),
    "dart, after a drop of the first tokens": DART(Schedule({1: 12, 2: 9, 3: 6})),
    "sparsevlm_plus, two heads": SparseVLMPlus(Schedule({1: 0.5, 3: 0.25}), heads=2),
}


SCALED = [case for case in CASES if case.startswith(("dart", "sparsevlm_plus"))]  # they use the angles themselves


@pytest.mark.parametrize("family", ["llama", "llava"])
@pytest.mark.parametrize(("case", "scaling"), [(case, 1.0) for case in CASES] + [(case, 1.3) for case in SCALED])
def test_a_padded_row_keeps_what_it_keeps_alone(case, scaling, family, monkeypatch):
    skip_unless_possible(case.split(",")[0], family)
    model, method = toy(family), CASES[case]
    decoder = model.model if family == "llama" else model.model.language_model
    monkeypatch.setattr(decoder.rotary_emb, "attention_scaling", scaling)  # YaRN scales cosines and sines
    starts = {"llama": ["v" * 24 + "tttttt", TEXT], "llava": ["itttttt", "titttttt"]}[family]
    for row in starts:
        one = batch(family, [row])
        with method(model, **one.options) as trace:
            model(**one.inputs)
        alone = {layer: kept.tolist() for layer, kept in trace.kept.items()}
        for padding in PADDING:
            padded = {
                name: x if name == "pixel_values" else torch.nn.functional.pad(x, (padding, 0))
                for name, x in one.inputs.items()
            }
            options = {name: torch.nn.functional.pad(x, (padding, 0)) for name, x in one.options.items()}
            with method(model, **options) as trace:
                model(**padded)
            kept = {layer: (kept - padding * (kept >= 0)).tolist() for layer, kept in trace.kept.items()}
            assert kept == alone, padding
    dropped = any(len(kept[0]) < (24 if family == "llama" else IMAGE_TOKENS) for kept in alone.values())
    assert dropped or METHODS.get(case) is DyCoke  # which leaves a single picture whole
