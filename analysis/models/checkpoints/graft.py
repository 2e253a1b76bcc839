"""A LLaVA whose decoder is SmolLM2, whose tower is the embedded model's, and whose projector was trained between them.

The parts lie where they came from: the decoder in `data/smollm2`, the tower in `data/mosaic_llava`, and what was
trained, a projector and low-rank updates of the decoder, in the graft's own folder. Put together they are an ordinary
`LlavaForConditionalGeneration`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import transformers  # loads nothing by itself; usable() comes before its classes
from safetensors.torch import load_file
from torch import Tensor, nn

from analysis.models.checkpoints import folders, smollm2
from analysis.models.checkpoints.one_line import in_one_line, quiet, refusal
from v2drop.models.torchvision_ops import usable

TRAINED = "trained.safetensors"
IMAGE = "<jupyter_output>"  # a special token of SmolLM2 that no prompt here has another use for
# SmolLM2's own turn, without the system prompt that its template adds.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for item in message['content'] %}"
    f"{{{{ '{IMAGE}' if item['type'] == 'image' else item['text'] }}}}"
    "{% endfor %}<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\n' }}"  # a template's own last line break is lost
)
PROJECTOR = "multi_modal_projector"
SCALE = 2.0  # of the low-rank updates, alpha over rank: 32 / 16


def untrained() -> transformers.LlavaForConditionalGeneration:
    """Decoder and tower as they are, joined by a projector with random weights (from torch's global generator).

    Raises:
        ValueError: SmolLM2 is not set up.
    """
    smollm2.check_set_up()
    usable()
    llava = transformers.LlavaForConditionalGeneration.from_pretrained(folders.EMBEDDED, dtype=torch.float32)
    decoder = transformers.LlamaForCausalLM.from_pretrained(folders.SMOLLM2, dtype=torch.float32)
    config = transformers.LlavaConfig(
        vision_config=llava.config.vision_config,
        text_config=decoder.config,
        image_token_index=tokenizer().convert_tokens_to_ids(IMAGE),
        image_seq_length=llava.config.image_seq_length,
        vision_feature_layer=-1,  # the decoder has depth enough; the tower may say all it knows
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    model = transformers.LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(llava.model.vision_tower.state_dict())
    model.model.language_model.load_state_dict(decoder.model.state_dict())
    model.tie_weights()
    model.generation_config = decoder.generation_config
    return model


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """SmolLM2's tokenizer, padding on the left, one of its special tokens naming the picture."""
    usable()
    return transformers.AutoTokenizer.from_pretrained(
        folders.SMOLLM2, padding_side="left", extra_special_tokens={"image_token": IMAGE}
    )


def processor() -> transformers.LlavaProcessor:
    """The processor: pictures as the tower takes them, SmolLM2's words."""
    usable()
    tower = transformers.AutoProcessor.from_pretrained(folders.EMBEDDED)
    return transformers.LlavaProcessor(
        image_processor=tower.image_processor,
        tokenizer=tokenizer(),
        patch_size=tower.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def is_graft(folder: str) -> bool:
    """Whether a folder holds what was trained of a graft."""
    return os.path.isfile(os.path.join(folder, TRAINED))  # False for any name that is no path


def merge(model: nn.Module, trained: dict[str, Tensor]) -> None:
    """Put trained tensors into a model, in place: the projector's weights, and products of low-rank factors added.

    Args:
        model: The model of `untrained`.
        trained: By name: weights of the projector as `model` names them, and for a matrix `w` of the decoder
            `w.down` [rank, in] and `w.up` [out, rank], whose product times SCALE is added to `w`.

    Raises:
        ValueError: A tensor has no place in the model, or one is missing.
    """
    weights = dict(model.named_parameters())
    projector = {name for name in weights if PROJECTOR in name}
    updated = {name.removesuffix(".down") for name in trained if name.endswith(".down")}
    odd = set(trained) ^ (projector | {f"{name}{part}" for name in updated for part in (".down", ".up")})
    if odd | (updated - set(weights)):
        raise ValueError(f"its tensors are not those of a graft ({min(odd | (updated - set(weights)))}, ...)")
    with torch.no_grad():
        for name in projector:
            weights[name].copy_(trained[name])
        for name in updated:
            down, up = trained[f"{name}.down"].float(), trained[f"{name}.up"].float()
            weights[name] += SCALE * up @ down


def read(folder: str, dtype: Any, device_map: Any, operator: Any) -> tuple[nn.Module, transformers.LlavaProcessor]:
    """The model with what a folder holds merged, in evaluation mode and without gradients, and its processor.

    Args:
        folder: The folder that holds TRAINED.
        dtype: As for `checkpoint.read`, and the next two.
        device_map: None.
        operator: The attention operator, or one for each part of the configuration.

    Raises:
        ValueError: The folder holds no TRAINED, or a damaged one; SmolLM2 is not set up; an option does not exist on
            this machine, or is a device map.
    """
    if not is_graft(folder):
        raise ValueError(refusal(folder, f"it holds no {TRAINED}; python -m analysis.training.graft makes one."))
    # Imported late, as it imports classes of transformers.
    from analysis.models.checkpoints.load_options import check_parts, from_pretrained_options

    if device_map is not None:
        raise ValueError(f"device_map must be None for a model that is put together of parts; got {device_map!r}.")
    options = from_pretrained_options(dtype, None, operator)
    with quiet():
        model = untrained()
        check_parts(model.config, operator)
        with in_one_line(folder, advice="python -m analysis.training.graft makes another."):
            merge(model, load_file(Path(folder) / TRAINED))
        if operator is not None:
            model.set_attn_implementation(operator)
    if isinstance(options["dtype"], torch.dtype):
        model = model.to(options["dtype"])
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model.eval().requires_grad_(False), processor()
