"""Objects that hold a model without being one, and how to get from each to the model."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from transformers import pipeline

from analysis.models.loaded import Loaded
from tests.support import zoo
from v2drop.contract.toys import toy


class Adapted(nn.Module):
    """As PEFT's PeftModel: what it does not have itself it passes on to what it wraps, the configuration too."""

    def __init__(self, model):
        super().__init__()
        self.base_model = nn.Module()
        self.base_model.model = model
        self.config = model.config

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base_model").model, name)

    def get_base_model(self):
        return self.base_model.model

    def forward(self, **inputs):
        return self.base_model.model(**inputs)


class Trainer:
    """As transformers' Trainer, Lightning's modules and many a script."""

    def __init__(self, model):
        self._private, self.steps, self.model = model, 3, model


def _peft(model):
    peft = pytest.importorskip("peft")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of attributes of transformers that PEFT still reads
        return peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(target_modules=["q_proj"])).eval()


WRAPPED = {  # name -> the wrapper of a model, and the way back
    "Adapted": (Adapted, ".get_base_model()"),
    "PeftModel": (_peft, ".get_base_model()"),
    "PEFT's tuner": (lambda model: _peft(model).base_model, ".model"),
    "DataParallel": (nn.DataParallel, ".module"),
    "DataParallel of Adapted": (lambda model: nn.DataParallel(Adapted(model)), ".module.get_base_model()"),
    "AveragedModel": (AveragedModel, ".module"),
    "Loaded": (lambda model: Loaded("mine", model, None), ".model"),
    "Trainer": (Trainer, ".model"),
    "Trainer of DataParallel": (lambda model: Trainer(nn.DataParallel(model)), ".model.module"),
    "tuple": (lambda model: (model, {"missing_keys": []}), "[0]"),
    "dict": (lambda model: {"model": model}, "['model']"),
}


def wrapped(name):
    """A wrapped LLaVA."""
    return WRAPPED[name][0](toy("llava"))


def piped():
    """A pipeline of transformers."""
    device = torch.device("cpu")
    return pipeline("image-text-to-text", zoo.model("llava"), processor=zoo.processor("llava"), device=device)
