"""Speed as ratios within one run, on the embedded model: `make bench`. The opponents are what a user would write."""

import platform
import time
from functools import partial

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, svds
from torch.nn.attention import SDPBackend, sdpa_kernel

from analysis import load
from analysis.models.checkpoints import folders
from analysis.models.loading import EMBEDDED
from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from analysis.residual_stream.measured_tokens import measured_prompts
from analysis.scenes.asked import prompts
from analysis.scenes.facts import text_sample
from analysis.scenes.questions import sample
from analysis.theorem.interventions import remove_token, revert_update
from analysis.theorem.operator_norms import operator_norms
from v2drop import V2Drop
from v2drop.models.parts import locate
from v2drop.scoring.attention import QueriesAndKeys

TOKENS = 8  # of 144 that the slow loop is timed on
PASSES = 40  # full forward passes that the slow interventions are timed on
LENGTH = 2048  # of the sequence that attention is timed on
SMOLLM2_LAYERS = [1, 10, 20]  # of 30 that norms are timed on, one prompt
REPEATS = 3  # the median of so many runs of what is fast


def seconds(run, repeats=REPEATS):
    """Median wall time, after one run to warm up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def suffix(model, inputs, layer):
    """The states behind a layer, and the final-norm hidden state of the last position as a function of one token's."""
    decoder, seen = locate(model).decoder, {}
    look = decoder.layers[layer + 1].register_forward_pre_hook(
        lambda _, args, kwargs: seen.update(kwargs, states=args[0]), with_kwargs=True
    )
    with torch.no_grad():
        model(**inputs, use_cache=False)
    look.remove()
    length = seen["states"].shape[1]
    mask = torch.full((length, length), -torch.inf).triu(1)[None, None]

    def output(x, token):
        states = torch.cat([seen["states"][:, :token], x[None, None], seen["states"][:, token + 1 :]], 1)
        for later in decoder.layers[layer + 1 :]:
            states = later(states, attention_mask=mask, position_embeddings=seen["position_embeddings"])
        return decoder.norm(states)[0, -1]

    return seen["states"][0], output


def by_svds(states, output, token):
    """One token's operator norm by scipy's Lanczos, from a JVP and a VJP."""
    x = states[token]
    _, vjp = torch.func.vjp(lambda v: output(v, token), x)

    def jvp(v):
        tangent = torch.from_numpy(v.astype(np.float32).ravel())
        return torch.func.jvp(lambda x: output(x, token), (x,), (tangent,))[1].numpy()

    def transposed(u):
        return vjp(torch.from_numpy(u.astype(np.float32).ravel()))[0].numpy()

    operator = LinearOperator((len(x), len(x)), matvec=jvp, rmatvec=transposed, dtype=np.float32)
    return svds(operator, k=1, tol=1e-3, return_singular_vectors=False, rng=np.random.default_rng(0))[0]


def loop(model, inputs, layer, tokens):
    """The norms of some tokens, one after the other, and seconds per token."""
    states, output = suffix(model, inputs, layer)
    with sdpa_kernel(SDPBackend.MATH):  # the only back end with a forward mode
        by_svds(states, output, tokens[0])
        start = time.perf_counter()
        norms = [by_svds(states, output, token) for token in tokens]
    return np.array(norms), (time.perf_counter() - start) / len(tokens)


def bench_norms(loaded, inputs):
    """Operator norms at one layer against the loop, and at all layers against one."""
    model, places = loaded.model, loaded.vision_positions(inputs)[0]
    alone = [seconds(lambda layer=layer: operator_norms(model, inputs, layer), 1) for layer in range(loaded.n_layers)]
    together = seconds(lambda: operator_norms(model, inputs, range(loaded.n_layers)))
    for layer in V2Drop.drop_layers(loaded.n_layers):
        ours = seconds(lambda layer=layer: operator_norms(model, inputs, layer))
        norms = operator_norms(model, inputs, layer).set_index("token").operator_norm
        slow, each = loop(model, inputs, layer, places[:: len(places) // TOKENS])
        error = np.abs(slow / norms[places[:: len(places) // TOKENS]].to_numpy() - 1).max()
        whole = each * len(places)
        print(f"norms at layer {layer}: svds loop {whole:.1f} s, ours {ours:.2f} s: {whole / ours:.0f} x faster")
        print(f"  largest relative difference {error:.0e}; all layers cost {together / ours:.1f} x this one")
    print(f"norms at all layers: {together:.2f} s, {together / np.mean(alone):.1f} x the mean cost of one layer")


def bench_large_norms():
    """Operator norms of a pretrained decoder: the default there, a shared subspace, against exact ones."""
    if not folders.SMOLLM2.exists():
        print("norms on SmolLM2: not measured, make has not set it up")
        return
    loaded, pair = load("smollm2"), next(pair for pair in text_sample(100) if len(pair[0].facts) == 4)
    inputs = prompts(loaded, [pair])
    call = partial(operator_norms, loaded.model, inputs, SMOLLM2_LAYERS, loaded.vision_mask(inputs))
    start = time.perf_counter()
    exact = call(estimator="exact")
    slow, start = time.perf_counter() - start, time.perf_counter()
    shared = call()
    fast = time.perf_counter() - start
    both = exact.assign(shared=shared.operator_norm)
    rho = both.groupby("layer")[["operator_norm", "shared"]].apply(lambda t: t.corr("spearman").iloc[0, 1])
    pooled = both[["operator_norm", "shared"]].corr("spearman").iloc[0, 1]
    print(
        f"norms on SmolLM2, {len(exact)} of layers {SMOLLM2_LAYERS}: exact {slow:.0f} s, {shared.norm_estimator[0]} "
        f"{fast:.1f} s: {slow / fast:.0f} x faster; Spearman {pooled:.4f}, by layer {rho.round(3).tolist()}"
    )


def bench_maps(loaded, inputs):
    """Revert and drop maps against a full forward pass per intervention."""
    model, layers = loaded.model, range(loaded.n_layers)
    places = loaded.vision_positions(inputs)[0]

    def put(module, args):
        states = args[0].clone()
        states[0, places[0]] = 0
        return (states, *args[1:])

    handle = locate(model).layers[6].register_forward_pre_hook(put)
    with torch.no_grad():
        full = seconds(lambda: model(**inputs, logits_to_keep=1, use_cache=False), PASSES)
    handle.remove()
    n = 2 * len(layers) * len(places)
    with differentiable_attention(model):
        _, stream, tokens = next(measured_prompts(FrozenDecoder(model, torch.float32, "hidden"), model, inputs, None))
        ours = seconds(lambda: (revert_update(stream, layers, tokens), remove_token(stream, layers, tokens)))
    print(f"{n} interventions: a full pass each {n * full:.1f} s, ours {ours:.2f} s: {n * full / ours:.1f} x faster")


def bench_rows():
    """Attention of the last token alone against the whole map, as attention methods' released codes compute it."""
    queries, keys = torch.randn(2, 1, LENGTH, 8, 64).unbind()
    angle = torch.arange(LENGTH)[None, :, None] * torch.logspace(0, -4, 32).repeat(2)
    projected = QueriesAndKeys(queries, keys, (angle.cos(), angle.sin()), scaling=1 / 8)
    last, visible = torch.tensor([[LENGTH - 1]]), torch.ones(1, LENGTH, dtype=torch.bool)
    row, whole = (seconds(lambda whole=whole: projected.weights(last, visible, whole)) for whole in (False, True))
    print(
        f"attention of the last of {LENGTH} tokens: whole map {whole:.2f} s, its row {row:.4f} s: {whole / row:.0f} x"
    )


def main():
    """Print the ratios."""
    print(f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads, embedded model")
    loaded = load(EMBEDDED)
    scene, question = sample(1, split="test", seed=0)[0]
    inputs = loaded.inputs([scene.image], [question.text])
    bench_rows()
    bench_maps(loaded, inputs)
    bench_norms(loaded, inputs)
    bench_large_norms()


if __name__ == "__main__":
    main()
