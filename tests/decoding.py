"""A prompt, then one token at a time through the cache."""

import torch


def run_with_cache(model, data, tokens):
    """Prefill, then one token at a time: logits at every row's last prompt token and at each step."""
    out = model(**data.inputs, position_ids=data.positions)
    last = torch.stack([out.logits[row, column] for row, column in enumerate(data.last)])
    steps, cache, present = [last], out.past_key_values, data.inputs["attention_mask"]
    for i in range(tokens.shape[1]):
        present = torch.cat([present, torch.ones_like(present[:, :1])], 1)
        positions = data.present.sum(1, keepdim=True) + i
        out = model(
            input_ids=tokens[:, i : i + 1],
            attention_mask=present,
            position_ids=positions,
            past_key_values=cache,
        )
        steps.append(out.logits[:, -1])
    return torch.stack(steps, 1)
