"""The references' own decoder and tower are the models'."""

import torch

from tests.support.float64_models import decoder_layer, logits, projected, tower_embeddings, tower_layer, tower_mlp
from v2drop.contract.toys import batch, toy


def test_the_decoder_written_out_is_the_model():
    model, data = toy("llama"), batch("llama", ["tvvvvvvttt"])
    x = model.model.embed_tokens(data.inputs["input_ids"])[0].double()
    for layer in model.model.layers:
        x, weights, keys = decoder_layer(layer, x, torch.arange(len(x)))
        assert weights.shape == (4, 10, 10) and keys.shape == (10, 2, 8)
    torch.testing.assert_close(logits(model, x).float(), model(**data.inputs).logits[0], atol=1e-5, rtol=1e-5)


def test_the_tower_written_out_is_the_models():
    model, data = toy("llava"), batch("llava", ["it"])
    tower = model.model.vision_tower
    x, states = tower_embeddings(tower, data.inputs["pixel_values"][0]), []
    for layer in tower.encoder.layers:
        states.append(x)
        x = tower_mlp(layer, tower_layer(layer, x)[0])
    states.append(x)
    features = states[model.config.vision_feature_layer][1:]
    expected = model.get_image_features(data.inputs["pixel_values"]).pooler_output[0]
    torch.testing.assert_close(projected(model, features).float(), expected, atol=1e-5, rtol=1e-5)
