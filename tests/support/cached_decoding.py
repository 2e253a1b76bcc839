"""A prompt, then one token at a time through the cache."""

import torch


def run_at(model, data, tokens, positions):
    """As `run_with_cache`, at position ids [(3,) batch, length + steps] of any family."""
    length, present = data.present.shape[1], data.inputs["attention_mask"]
    out = model(**data.inputs, position_ids=positions[..., :length], use_cache=True)
    last = torch.stack([out.logits[row, column] for row, column in enumerate(data.last)])
    steps, cache = [last], out.past_key_values
    for i in range(tokens.shape[1]):
        present = torch.cat([present, torch.ones_like(present[:, :1])], 1)
        out = model(
            input_ids=tokens[:, i : i + 1],
            attention_mask=present,
            position_ids=positions[..., length + i : length + i + 1],
            past_key_values=cache,
        )
        steps.append(out.logits[:, -1])
    return torch.stack(steps, 1)


def at_last(logits, data):
    """Of an oracle's logits, those at every row's last prompt token and at each token after the prompt."""
    last = torch.stack([logits[row, column] for row, column in enumerate(data.last)])
    return torch.cat([last[:, None], logits[:, data.present.shape[1] :]], 1)
