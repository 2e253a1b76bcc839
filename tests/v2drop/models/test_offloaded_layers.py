"""Models too big for one device: layers kept on disk or in another memory, as `device_map` places them."""

import pytest
import torch

from tests.support.fitted_methods import fitted, skip_unless_possible
from v2drop import METHODS
from v2drop.contract.toys import IMAGE_ID, LAYERS, batch, toy

TOWER, DECODER = "model.vision_tower", "model.language_model"
WHERE = {
    "llava, last layers": ["layers.3", "layers.4", "norm", "lm_head"],
    "llava, first modules": ["layers.0", "layers.1", "embed_tokens", TOWER, "multi_modal_projector"],
    "llava, all": ["layers", "norm", "embed_tokens", "lm_head", TOWER, "multi_modal_projector"],
    "llama, all": ["layers", "norm", "embed_tokens", "lm_head"],
}


def device_map(family, away):
    """Every module on the CPU, but for those whose name has one of `away` in it."""
    decoder, others = "model", ["lm_head"]
    if family == "llava":
        decoder, others = DECODER, ["lm_head", TOWER, "model.multi_modal_projector"]
    names = [f"{decoder}.{name}" for name in ("embed_tokens", "norm", "rotary_emb")]
    names += [f"{decoder}.layers.{i}" for i in range(LAYERS)] + others
    return {name: "disk" if any(part in name for part in away) else "cpu" for name in names}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Where the toys lie."""
    folders = {family: tmp_path_factory.mktemp(family) for family in ("llava", "llama")}
    for family, folder in folders.items():
        toy(family).save_pretrained(folder)
    return folders


def load(saved, family, folder, **options):
    model = (
        type(toy(family))
        .from_pretrained(saved[family], offload_folder=folder, attn_implementation="sdpa", **options)
        .eval()
    )
    assert any(parameter.device.type == "meta" for parameter in model.parameters())
    return model


@pytest.fixture(scope="module", params=WHERE)
def offloaded(request, saved, tmp_path_factory):
    """A toy whose weights lie on disk in part, and its family."""
    family, away = request.param.split(",")[0], WHERE[request.param]
    return family, load(saved, family, tmp_path_factory.mktemp("disk"), device_map=device_map(family, away))


def same(family, model, method):
    """Kept tokens, lengths, logits and generation are those of the toy in memory."""
    data = batch("llava", ["titttt", "tiitt"]) if family == "llava" else batch("llama", ["tvvvvvvttt", "vvvvvvtt"])
    options, results = {"max_new_tokens": 4, "do_sample": False, "suppress_tokens": [IMAGE_ID]}, []
    for each in (toy(family), model):
        with torch.no_grad(), method(each, **data.options) as trace:
            logits = each(**data.inputs).logits
            results.append((trace.kept, trace.lengths, logits, each.generate(**data.inputs, **options)))
    (kept, lengths, logits, tokens), (kept_there, lengths_there, logits_there, tokens_there) = results
    assert lengths == lengths_there and sorted(kept) == sorted(kept_there)
    assert all(torch.equal(kept[layer], kept_there[layer]) for layer in kept)
    torch.testing.assert_close(logits_there, logits, atol=1e-6, rtol=1e-6, equal_nan=True)
    assert torch.equal(tokens, tokens_there)


@pytest.mark.parametrize("name", METHODS)
def test_a_model_on_disk_is_the_one_in_memory(offloaded, name):
    family, model = offloaded
    skip_unless_possible(name, family)
    method = fitted(name, {1: 0.5, 3: 0.25})
    if name == "downsample" and model.model.vision_tower.embeddings.position_embedding.weight.is_meta:
        with pytest.raises(ValueError, match="position embeddings, which are offloaded; keep the tower"):
            method(model)
    else:
        same(family, model, method)


def test_a_model_placed_by_itself_is_the_one_in_memory(saved, tmp_path):
    model = load(saved, "llava", tmp_path, device_map="auto", max_memory={"cpu": "150KB"})
    assert {"cpu", "disk"} == {str(place) for place in model.hf_device_map.values()}
    same("llava", model, fitted("fastv", {1: 0.5, 3: 0.25}))


def test_arguments_by_place_are_found_behind_accelerates_wrappers(saved, tmp_path):
    """It puts a function of its own in place of `forward`."""
    model = load(saved, "llama", tmp_path, device_map=device_map("llama", ["layers"]))
    data, results = batch("llama", ["tvvvvvvttt"]), []
    for each in (toy("llama"), model):
        with torch.no_grad(), fitted("v2drop", {1: 2})(each, **data.options) as trace:
            states = each.model(data.inputs["input_ids"], data.inputs["attention_mask"]).last_hidden_state
            results.append((states, trace.kept[1]))
    torch.testing.assert_close(results[0], results[1], equal_nan=True)
