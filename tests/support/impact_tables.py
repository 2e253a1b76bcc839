"""Tables of the theorem whose answers are known."""

import numpy as np
import pandas as pd

NULL_COLUMNS = [
    f"{name}_{null}" for name in ("gain_ratio", "top_cosine") for null in ("random", "permuted", "same_label")
]


def synthetic(samples=12, layers=2, tokens=60, seed=0, power=(1.0, 1.0, 1.0), noise=0.0):
    """A table in which revert_impact is variation^a * norm^b * gain ratio^c, and drop_impact its inverse.

    The answer's log probability changes by a tenth of these, by turns up and down from token to token.
    """
    rng = np.random.default_rng(seed)
    n = samples * layers * tokens
    change, norm = rng.lognormal(size=(2, n))
    gain = rng.uniform(0.05, 1, n)
    a, b, c = power
    revert = change**a * norm**b * gain**c * np.exp(noise * rng.normal(size=n))
    keys = np.stack(np.meshgrid(range(samples), range(layers), range(tokens), indexing="ij")).reshape(3, -1)
    sign = np.where(keys[2] % 2, -0.1, 0.1)
    table = {"variation_l2": change, "variation_l1": change, "variation_cosine": rng.random(n)}
    table |= {"operator_norm": norm, "predicted_impact": norm * change, "gain_ratio": gain}
    table |= {"first_order_impact": norm * change * gain, "revert_impact": revert, "drop_impact": 1 / revert}
    table |= {"top_cosine": gain / 2, "attention_last": rng.random(n) / 6, "token_norm": 1 + rng.random(n)}
    table |= {name: rng.random(n) for name in NULL_COLUMNS} | {"random": rng.random(n)}
    table |= {"answer_gradient": norm / 10, "predicted_answer": norm * change / 10, "revert_kl": revert**2}
    table |= {"first_order_answer": sign * norm * change * gain, "revert_answer": sign * revert, "drop_kl": revert**-2}
    table |= {"drop_answer": sign / revert}
    return pd.DataFrame(dict(zip(["sample", "layer", "token"], keys, strict=True)) | table).assign(taylor_slope=2.0)


def with_labels(table):
    """The table with every third token an object, the rest background."""
    return table.assign(label=np.where(table.token % 3 == 0, "object", "background"))
