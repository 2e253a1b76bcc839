"""Every kind of key-value cache: works, or is refused before anything runs."""

import pytest
import torch
from optimum.quanto.library.extensions import get_extension
from transformers import Cache, DynamicCache, GenerationConfig, QuantizedCache, StaticCache, cache_utils
from transformers.cache_utils import QuantizedLayer

from tests.support.fitted_methods import fitted, skip_unless_possible
from tests.support.left_behind import nothing_runs
from v2drop import METHODS, DyCoke, MustDrop, Schedule, V2Drop
from v2drop.contract.oracle import oracle_run, run_with_cache
from v2drop.contract.toys import IMAGE_ID, LAYERS, batch, toy

HALF = Schedule({1: 0.5, 3: 0.25})
ROWS = ["titttt", "tit", "tttt"]
GREEDY = {"do_sample": False, "suppress_tokens": [IMAGE_ID], "max_new_tokens": 6}
READERS = {"mustdrop": MustDrop(Schedule({2: 6})), "dycoke": DyCoke(Schedule({0: 1.0}), visible_share=0.5)}


class Lossless(QuantizedLayer):
    """Quantisation to all bits there are: the machinery alone."""

    def _quantize(self, tensor, axis):
        return tensor.clone()

    def _dequantize(self, tensor):
        return tensor


def lossless(model, residual=2):
    cache = QuantizedCache.__new__(QuantizedCache)  # past its own layers, which need optimum-quanto
    n_layers = model.config.get_text_config().num_hidden_layers
    Cache.__init__(cache, layers=[Lossless(residual_length=residual) for _ in range(n_layers)])
    return cache


def steps_of(model, data, tokens, cache):
    """`run_with_cache`, from a cache of the caller's."""
    data.inputs["past_key_values"] = cache
    try:
        return run_with_cache(model, data, tokens)
    finally:
        del data.inputs["past_key_values"]


@pytest.mark.parametrize("operator", ["eager", "sdpa"])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("residual", [2, 100])
def test_a_lossless_quantised_cache_gives_the_oracles_logits(name, operator, residual):
    skip_unless_possible(name, "llama", merges_tokens=False)
    data, model = batch("llama", ["tvvvvvvttt", "vvvvvvtt"]), toy("llama", operator)
    tokens, cache = torch.randint(4, 64, (2, 5)), lossless(model, residual)
    with fitted(name, {1: 4, 3: 2})(model, **data.options) as trace:
        got = steps_of(model, data, tokens, cache)
    expected = oracle_run(model, data, trace.kept, tokens, LAYERS, METHODS[name].positions)[:, -6:]
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    assert [layer.get_seq_length() for layer in cache.layers] == [n + 5 for n in trace.lengths]


def test_beams_go_on_in_a_quantised_cache():
    data, model = batch("llava", ROWS), toy("llava")
    with V2Drop(HALF)(model):
        # Without it transformers cannot reorder such a cache, whatever is dropped.
        for beams in (1, 3) if hasattr(QuantizedLayer, "_apply_pending_reorder") else (1,):
            expected = model.generate(**data.inputs, num_beams=beams, **GREEDY)
            got = model.generate(**data.inputs, num_beams=beams, past_key_values=lossless(model), **GREEDY)
            assert torch.equal(got, expected)


class Kernels:
    """What quanto compiles at its first use, for which it takes a minute and a C++ compiler; here in torch."""

    @staticmethod
    def unpack(packed, bits):
        return torch.cat([packed >> shift & 2**bits - 1 for shift in range(0, 8, bits)])


@pytest.mark.parametrize("backend", ["quanto", "fp8"])
def test_real_quantisation_keeps_the_same_tokens_and_stays_close(backend, monkeypatch):
    """The prefill attends to unquantised keys; what follows, to keys that are a little off."""
    if backend == "fp8" and not hasattr(cache_utils, "Fp8QuantizedLayer"):
        pytest.skip("this transformers has no FP8 cache")
    data, model, config = batch("llava", ["tittttt", "titttt"]), toy("llava"), {"backend": backend}
    if backend == "quanto":
        monkeypatch.setattr(get_extension("quanto_cpp"), "_lib", Kernels)
        config |= {"q_group_size": 8, "axis_key": 0, "axis_value": 0}
    tokens = torch.randint(4, 64, (2, 5))
    with V2Drop(HALF)(model) as trace:
        exact, kept = run_with_cache(model, data, tokens), trace.kept
        cache = QuantizedCache(config=model.config, **config)
        got = steps_of(model, data, tokens, cache)
        assert all(torch.equal(kept[layer], trace.kept[layer]) for layer in kept)
        out = model.generate(
            **data.inputs, cache_implementation="quantized", cache_config=config, return_dict_in_generate=True, **GREEDY
        )
        assert all(torch.equal(kept[layer], trace.kept[layer]) for layer in kept)
    plain = run_with_cache(model, data, tokens)
    assert torch.equal(got[:, 0], exact[:, 0])
    assert 0 < (got - exact).abs().mean() < 0.3 * (plain - exact).abs().mean()
    assert [layer.get_seq_length() for layer in cache.layers] == [n + 5 for n in trace.lengths]
    assert [layer.get_seq_length() for layer in out.past_key_values.layers] == [n + 5 for n in trace.lengths]


class Stream:
    """A CUDA stream where there is none."""

    __enter__ = __exit__ = wait_stream = lambda *_: None


@pytest.mark.parametrize("how", ["by name", "by hand"])
@pytest.mark.parametrize("beams", [1, 2])
def test_an_offloaded_cache_gives_the_same_tokens(how, beams, monkeypatch):
    """transformers offloads from CUDA alone; on a CPU its streams are stood in for, and the rest is as it is there."""
    if not torch.cuda.is_available():
        monkeypatch.setattr(torch, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "default_stream", lambda device: Stream())
    data, model = batch("llava", ROWS), toy("llava")
    with V2Drop(HALF)(model) as trace:
        expected = model.generate(**data.inputs, num_beams=beams, **GREEDY)
        offloaded = {"cache_implementation": "offloaded"}
        if how == "by hand":
            offloaded = {"past_key_values": DynamicCache(config=model.config, offloading=True)}
        out = model.generate(**data.inputs, num_beams=beams, return_dict_in_generate=True, **offloaded, **GREEDY)
    assert torch.equal(out.sequences, expected) and out.past_key_values.offloading
    assert [layer.get_seq_length() for layer in out.past_key_values.layers] == [n + 5 for n in trace.lengths]


STATIC = ["static", "offloaded_static", "sliding_window", "hybrid_chunked"]


@pytest.mark.parametrize("family", ["llava", "llama"])
@pytest.mark.parametrize("where", [*STATIC, "generation_config", "default", "by hand", "call", "one layer"])
def test_static_caches_are_refused_before_anything_runs(family, where, monkeypatch):
    data, model, arguments = (
        batch("llava", ["titt"]) if family == "llava" else batch("llama", ["tvvt"]),
        toy(family),
        {},
    )
    options = data.options
    if where in STATIC:
        arguments["cache_implementation"] = where
    elif where == "generation_config":
        arguments["generation_config"] = GenerationConfig(cache_implementation="static", max_new_tokens=2)
    elif where == "default":
        monkeypatch.setattr(model.generation_config, "cache_implementation", "static")
    else:
        arguments["past_key_values"] = cache = StaticCache(config=model.config, max_cache_len=64)
        if where == "one layer":
            arguments["past_key_values"] = mixed = DynamicCache(config=model.config)
            mixed.layers[2] = cache.layers[2]
    with V2Drop(HALF)(model, **options), nothing_runs(model):
        run = model if where == "call" else model.generate
        with pytest.raises(
            ValueError, match="cannot hold a different number of tokens per layer; allowed: DynamicCache"
        ):
            run(**data.inputs, **arguments)


def test_the_hybrid_cache_of_old_checkpoints_is_a_dynamic_one():
    data, model = batch("llava", ROWS), toy("llava")
    with V2Drop(HALF)(model):
        expected = model.generate(**data.inputs, **GREEDY)
        assert torch.equal(expected, model.generate(**data.inputs, cache_implementation="hybrid", **GREEDY))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["quantized", "offloaded", "quantized by hand", "offloaded by hand", "call"])
def test_a_method_that_reads_caches_refuses_those_it_cannot(name, kind):
    data, model = batch("llava", ["tiitt"]), toy("llava")
    arguments = {"cache_implementation": kind}
    if kind not in ("quantized", "offloaded"):
        offloaded = DynamicCache(config=model.config)
        offloaded.offloading = True  # to make one needs CUDA
        arguments = {"past_key_values": lossless(model) if kind.startswith("quantized") else offloaded}
    with READERS[name](model), nothing_runs(model):
        run = model if kind == "call" else model.generate
        with pytest.raises(ValueError, match="the method reads what caches hold"):
            run(**data.inputs, **arguments)


def test_methods_that_do_not_read_caches_accept_all():
    data, model = batch("llava", ["tiitt"]), toy("llava")
    for method in (V2Drop(HALF), DyCoke(Schedule({0: 1.0}))):
        with method(model):
            expected = model.generate(**data.inputs, **GREEDY)
            assert torch.equal(model.generate(**data.inputs, past_key_values=lossless(model), **GREEDY), expected)
