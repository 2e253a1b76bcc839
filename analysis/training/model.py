"""The embedded model before training, a LLaVA of the real classes that is small enough for a laptop; its processor."""

from __future__ import annotations

import transformers  # its classes are imported lazily at their first use: every function here calls usable() first
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Sequence, Split, WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from analysis.scenes.drawing import PATCH
from analysis.scenes.mosaic import SIDE
from analysis.scenes.question_kinds import words
from v2drop.models.torchvision_ops import usable

PAD, BOS, EOS, UNK, IMAGE = SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
WIDTH, VISION_LAYERS, DECODER_LAYERS = 128, 4, 12
# A turn is the image, then the question: the word that decides comes last, right before the answer.
CHAT_TEMPLATE = (
    "{% for message in messages %}{% for item in message['content'] %}"
    "{{ '<image>' if item['type'] == 'image' else ' ' + item['text'] }}"
    "{% endfor %}{% endfor %}"
)


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A tokenizer with one token for each word, `<s>` in front and padding on the left, as generation needs it."""
    usable()
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *words()])}
    model = Tokenizer(WordLevel(vocabulary, unk_token=UNK))
    model.pre_tokenizer = Sequence([Split(IMAGE, "isolated"), WhitespaceSplit()])
    model.post_processor = TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, vocabulary[BOS])]
    )
    names = {"pad_token": PAD, "bos_token": BOS, "eos_token": EOS, "unk_token": UNK}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=model,
        padding_side="left",
        extra_special_tokens={"image_token": IMAGE},
        model_max_length=512,
        **names,
    )


def processor() -> transformers.LlavaProcessor:
    """The processor: scales pictures to 96 x 96, the size that mosaics have already."""
    usable()
    images = transformers.CLIPImageProcessor(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return transformers.LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer(),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # CLIP's class token; "default" leaves it out again
        chat_template=CHAT_TEMPLATE,
    )


def config() -> transformers.LlavaConfig:
    """The configuration: 144 vision tokens, twelve decoder layers, 2.6 M parameters."""
    usable()
    ids = tokenizer().convert_tokens_to_ids
    sizes = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 4}
    vision = transformers.CLIPVisionConfig(num_hidden_layers=VISION_LAYERS, image_size=SIDE, patch_size=PATCH, **sizes)
    text = transformers.LlamaConfig(
        vocab_size=len(tokenizer()),
        num_hidden_layers=DECODER_LAYERS,
        num_key_value_heads=4,
        max_position_embeddings=512,
        initializer_range=0.06,  # 0.02 stalls at this width
        bos_token_id=ids(BOS),
        eos_token_id=ids(EOS),
        pad_token_id=ids(PAD),
        **sizes,
    )
    return transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=ids(IMAGE),
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-2,  # as in LLaVA: the tower's last layer leaves less to the decoder
        vision_feature_select_strategy="default",
    )


def build() -> transformers.LlavaForConditionalGeneration:
    """The model with random weights (from torch's global generator)."""
    usable()
    return transformers.LlavaForConditionalGeneration(config())
