"""MustDrop written out: tower and decoder one row at a time in float64, what is merged or dropped really taken out."""

from functools import cache
from itertools import combinations
from math import ceil

import torch
from torch import Tensor

from tests.support.float64_models import decoder_layer, logits, projected, tower_embeddings, tower_layer, tower_mlp
from v2drop.contract.toys import FAMILIES, IMAGE_ID, VOCABULARY, Batch, toy

SIDES = (4, 7)  # patches; one window, and four with an edge that is in none


@cache
def sighted(side: int, operator: str = "sdpa"):
    """The toy with pictures of so many patches a side."""
    if side == 4:
        return toy("llava", operator)
    config = FAMILIES["llava"]().config
    config.vision_config.image_size = side * config.vision_config.patch_size
    torch.manual_seed(side)
    model = type(toy("llava"))(config).eval().requires_grad_(False)
    model.set_attn_implementation(operator)
    return model


def pictures(side: int, alike: list[list[int]], seed: int) -> Tensor:
    """Noise; the windows of these numbers are of one colour each."""
    torch.manual_seed(seed)
    made, n = torch.randn(len(alike), 3, 8 * side, 8 * side), side // 3
    for picture, windows in zip(made, alike, strict=True):
        for window in windows:
            row, column = 24 * (window // n), 24 * (window % n)
            picture[:, row : row + 24, column : column + 24] = 400 * torch.randn(3, 1, 1)
    return made


def prompts(side: int, rows: list[str], alike: list[list[int]], seed: int = 0, pad: str = "left") -> Batch:
    """As `toys.batch`, with such pictures."""
    plain = [row.replace("i", "v" * side**2) for row in rows]
    length = max(map(len, plain))
    shift = [length - len(row) if pad == "left" else 0 for row in plain]
    plain = [(" " * n + row).ljust(length) for n, row in zip(shift, plain, strict=True)]
    vision = torch.tensor([[c == "v" for c in row] for row in plain])
    present = torch.tensor([[c != " " for c in row] for row in plain])
    images = pictures(side, alike, seed)
    ids = torch.randint(IMAGE_ID + 1, VOCABULARY, vision.shape).masked_fill(vision, IMAGE_ID) * present
    inputs = {"input_ids": ids, "attention_mask": present.long()}
    return Batch(inputs | ({"pixel_values": images} if alike else {}), vision, {})


def looked_at(model, picture: Tensor) -> tuple[Tensor, list[list[int]], set[int]]:
    """Of one picture: its tokens' embeddings, the patches each is made of, and numbers of the key ones."""
    tower, features = model.model.vision_tower, None
    side = tower.config.image_size // tower.config.patch_size
    x = tower_embeddings(tower, picture)
    tokens = [[patch] for patch in range(side**2)]
    for number, layer in enumerate(tower.encoder.layers):
        x, weights, _ = tower_layer(layer, x)
        x = tower_mlp(layer, x)
        if number == 0:
            x, tokens = merged(x, side)
        if number == len(tower.encoder.layers) + model.config.vision_feature_layer:
            features = x[1:]
    seen = [sum(float(head[0, 1 + i]) for head in weights) for i in range(len(tokens))]
    best = sorted(range(len(tokens)), key=lambda i: (-seen[i], min(tokens[i])))
    return projected(model, features), tokens, set(best[: ceil(len(tokens) * 8 / 100)])


def merged(x: Tensor, side: int) -> tuple[Tensor, list[list[int]]]:
    groups, gone = [], set()
    for top in range(0, side - 2, 3):
        for left in range(0, side - 2, 3):
            window = [side * (top + i) + left + j for i in range(3) for j in range(3)]
            pairs = [float(torch.cosine_similarity(x[1 + a], x[1 + b], 0)) for a, b in combinations(window, 2)]
            if sum(pairs) / 36 >= 0.8:
                groups.append(window)
                gone |= set(window)
    tokens = groups + [[patch] for patch in range(side**2) if patch not in gone]
    return torch.stack([x[0]] + [sum(x[1 + p] for p in token) / len(token) for token in tokens]), tokens


def entered(model, data: Batch) -> tuple[Tensor, list[int], list[bool], list[bool]]:
    """Of the only row, what enters layer 0: states, positions, which are vision tokens, which of these are key."""
    side2 = (model.config.vision_config.image_size // 8) ** 2
    x, names, vision, key, place = [], [], [], [], 0
    ids, images = data.inputs["input_ids"][0].tolist(), iter(data.inputs.get("pixel_values", []))
    while place < len(ids):
        if ids[place] == IMAGE_ID:
            states, tokens, best = looked_at(model, next(images))
            x += list(states)
            names += [place + min(token) for token in tokens]
            vision += [True] * len(tokens)
            key += [i in best for i in range(len(tokens))]
            place += side2
        else:
            x.append(model.model.language_model.embed_tokens.weight[ids[place]].double())
            names, vision, key = [*names, place], [*vision, False], [*key, False]
            place += 1
    return torch.stack(x), names, vision, key


def stays(vision: list[int], text: list[int], key: list[bool], attention: Tensor, left: int, thresholds) -> list[int]:
    """Which of these columns go on; attention [heads, n, n] of the layer before."""
    mean = sum(attention) / len(attention)
    total = {v: sum(float(mean[t, v]) for t in text) for v in vision}
    if thresholds is None:
        return sorted(sorted(vision, key=lambda v: (not key[v], -total[v], v))[:left])
    share, most = thresholds
    loud = {v for v in vision if total[v] >= share * sum(total.values()) or any(mean[t, v] >= most for t in text)}
    return [v for v in vision if v in loud or key[v]]


def reference(model, data: Batch, method, tokens: Tensor) -> tuple[Tensor, dict[int, list[int]], list[int]]:
    """Logits after the prompt and each of `tokens`, positions left at each drop, and lengths of caches in the end."""
    x, names, vision, key = entered(model, data)
    n = sum(data.vision[0].tolist())
    ran, kept, now = [], {0: [name for name, v in zip(names, vision, strict=True) if v]}, list(range(len(x)))
    layers, left = model.model.language_model.layers, method.schedule.after(n)
    weights, whole = None, x
    last_vision = max(i for i, v in enumerate(vision) if v)
    for number, layer in enumerate(layers):  # the prompt alone
        if number in left:
            there, text = [i for i in now if vision[i]], [i for i in now if i > last_vision]
            spread = torch.zeros(len(weights), len(whole), len(whole)).double()
            for a, row in enumerate(now):
                for b, column in enumerate(now):
                    spread[:, row, column] = weights[:, a, b]
            found = stays(there, text, key, spread, left[number], method.thresholds)
            x = x[[a for a, i in enumerate(now) if not vision[i] or i in found]]
            now = [i for i in now if not vision[i] or i in found]
            kept[number] = [names[i] for i in found]
        ran.append(now)
        x, weights, _ = decoder_layer(layer, x, torch.arange(len(x)))
    return *continued(model, whole, ran, list(left), tokens), kept


def continued(model, x: Tensor, ran: list[list[int]], drops: list[int], tokens: Tensor) -> tuple[Tensor, list[int]]:
    """Prompt and tokens through layers that ran on these columns; lengths of the caches."""
    steps, lengths = len(tokens), []
    decoder, final, now = model.model.language_model, ran[-1], ran[0]
    x = torch.cat([x, decoder.embed_tokens(tokens).double()])
    for number, (layer, there) in enumerate(zip(decoder.layers, ran, strict=True)):
        x = torch.cat([x[: len(now)][[i in there for i in now]], x[len(now) :]])
        now, n = there, len(there) + steps
        unseen = torch.zeros(n, n, dtype=torch.bool)
        cut = max(1, drops[0] - 1) <= number < drops[-1]
        if cut:
            unseen[len(there) :, : len(there)] = torch.tensor([i not in final for i in there])
        lengths.append((len(final) if cut else len(there)) + steps)
        x = decoder_layer(layer, x, torch.arange(n), unseen)[0]
    return logits(model, x)[-1 - steps :].float(), lengths
