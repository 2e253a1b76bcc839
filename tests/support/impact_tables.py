"""Tables of the theorem whose answers are known."""

import numpy as np
import pandas as pd


def synthetic(samples=12, layers=2, tokens=60, seed=0, power=(1.0, 1.0, 1.0), noise=0.0):
    """A table in which revert_impact is variation^a * norm^b * alignment^c, and drop_impact its inverse."""
    rng = np.random.default_rng(seed)
    n = samples * layers * tokens
    change, norm = rng.lognormal(size=(2, n))
    alignment = rng.uniform(0.05, 1, n)
    a, b, c = power
    revert = change**a * norm**b * alignment**c * np.exp(noise * rng.normal(size=n))
    table = {
        "alignment_random": rng.random(n),
        "variation_l2": change,
        "variation_l1": change,
        "variation_cosine": rng.random(n),
    }
    table |= {"operator_norm": norm, "predicted_impact": norm * change, "alignment": alignment}
    table |= {"first_order_impact": norm * change * alignment, "revert_impact": revert, "drop_impact": 1 / revert}
    table |= {
        "alignment_random": rng.random(n),
        "attention_last": rng.random(n),
        "token_norm": rng.random(n),
        "random": rng.random(n),
    }
    keys = np.stack(np.meshgrid(range(samples), range(layers), range(tokens), indexing="ij")).reshape(3, -1)
    return pd.DataFrame(dict(zip(["sample", "layer", "token"], keys, strict=True)) | table).assign(taylor_slope=2.0)
