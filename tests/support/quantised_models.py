"""Tiny models with quantised weights: by packages where they are installed, and stand-ins that need none."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from v2drop.contract.toys import toy


class PackedLinear(nn.Linear):
    """Integers with a scale, as bitsandbytes (8 bits), EETQ, HQQ, AWQ and GPTQ store them."""

    def __init__(self, plain):
        super().__init__(plain.in_features, plain.out_features, plain.bias is not None, device="meta")
        self.scale = plain.weight.abs().amax(1, keepdim=True) / 127
        self.weight = nn.Parameter((plain.weight / self.scale).round().to(torch.int8), requires_grad=False)
        self.bias = plain.bias

    def forward(self, x):
        return functional.linear(x, self.weight * self.scale, self.bias)


class ScaledLinear(nn.Linear):
    """Floats of 8 bits with a scale, as transformers' FP8Linear; wider ones are taken for weights without a scale."""

    def __init__(self, plain):
        super().__init__(plain.in_features, plain.out_features, plain.bias is not None, device="meta")
        self.scale = nn.Parameter(plain.weight.abs().max() / 448, requires_grad=False)
        self.weight = nn.Parameter((plain.weight / self.scale).to(torch.float8_e4m3fn), requires_grad=False)
        self.bias = plain.bias

    def forward(self, x):
        wide = self.weight.itemsize > 1
        return functional.linear(x, self.weight if wide else self.weight.float() * self.scale, self.bias)


class RoundedCalls(nn.Linear):
    """A plain layer whose `forward` another package has replaced, as compressed-tensors does."""

    def __init__(self, plain):
        super().__init__(plain.in_features, plain.out_features, plain.bias is not None, device="meta")
        self.weight, self.bias, self.quantization_scheme = plain.weight, plain.bias, "W8A8"

    def forward(self, x):
        return functional.linear((x * 32).round() / 32, self.weight, self.bias)


def _replaced(make, family):
    model = copy.deepcopy(toy(family))
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear:
            model.set_submodule(name, make(module))
    return model


def _dynamic(family):
    from torch.ao.quantization import quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that these functions are to move to torchao
        return quantize_dynamic(copy.deepcopy(toy(family)), {nn.Linear}, torch.qint8)


def _quanto(family, freeze=True, **options):
    quanto = pytest.importorskip("optimum.quanto")
    model = copy.deepcopy(toy(family))
    quanto.quantize(model, weights=quanto.qint8, **options)
    if freeze:
        quanto.freeze(model)
    return model


def _quanto_activations(family):
    return _quanto(family, activations=pytest.importorskip("optimum.quanto").qint8)


def _torchao(family, config):
    torchao = pytest.importorskip("torchao.quantization")
    model = copy.deepcopy(toy(family))
    torchao.quantize_(model, getattr(torchao, config)())
    return model


def _bitsandbytes(family, bits):
    nn_ = pytest.importorskip("bitsandbytes").nn

    def quantised(plain):
        sizes, bias = (plain.in_features, plain.out_features), plain.bias is not None
        if bits == 4:
            new = nn_.Linear4bit(*sizes, bias, compute_dtype=torch.float32, quant_type="nf4")
            new.weight = nn_.Params4bit(plain.weight.data, requires_grad=False, quant_type="nf4")
        else:
            new = nn_.Linear8bitLt(*sizes, bias, has_fp16_weights=False)
            new.weight = nn_.Int8Params(plain.weight.data, requires_grad=False, has_fp16_weights=False)
        new.bias = plain.bias
        return new.to("cpu")

    return _replaced(quantised, family)


EXACT = {  # rounded weights, which are floats all the same
    "quanto": _quanto,
    "quanto, not frozen": lambda family: _quanto(family, freeze=False),
    "torchao, 8 bits": lambda family: _torchao(family, "Int8WeightOnlyConfig"),
    "torchao, 8 bits of floats": lambda family: _torchao(family, "Float8WeightOnlyConfig"),
    "bitsandbytes, 4 bits": lambda family: _bitsandbytes(family, 4),
}
REFUSED = {  # rounded activations, or nobody knows
    "packed integers": lambda family: _replaced(PackedLinear, family),
    "floats with a scale": lambda family: _replaced(ScaledLinear, family),
    "rounded calls": lambda family: _replaced(RoundedCalls, family),
    "torch, dynamic": _dynamic,
    "quanto, activations": _quanto_activations,
    "torchao, dynamic": lambda family: _torchao(family, "Int8DynamicActivationInt8WeightConfig"),
    "bitsandbytes, 8 bits": lambda family: _bitsandbytes(family, 8),
}


def quantised(kind, family="llava"):
    """A model of this kind, in evaluation mode."""
    return (EXACT | REFUSED)[kind](family).eval().requires_grad_(False)


def applied_weights(kind):
    """A model with plain layers whose weights are read off what the quantised ones of a kind do to a basis."""
    model = quantised(kind)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear):
            zero, basis = torch.zeros(1, module.in_features), torch.eye(module.in_features)
            plain = nn.Linear(module.in_features, module.out_features)
            with torch.no_grad():
                plain.bias.copy_(module(zero)[0])
                plain.weight.copy_((module(basis) - module(zero)).mT)
            model.set_submodule(name, plain)
    return model.requires_grad_(False)
