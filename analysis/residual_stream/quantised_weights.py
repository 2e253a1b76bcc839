"""Quantised weights: taken back to floats where the module stays the same function, refused by name where it does not.

A module that rounds its weights alone is a linear map of its input, the one that the rounded weights give as floats.
One that rounds its input too is a step function, whose derivative is zero or nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

# Packages all of whose modules are quantised, also those that keep floats and round them in every call.
QUANTISING = ("torch.ao.", "torchao.", "optimum.quanto.", "bitsandbytes.", "transformers.integrations.")


def plain_modules(module: nn.Module, where: str, dtype: torch.dtype) -> dict[int, nn.Linear]:
    """Linear modules with floats for weights in place of the quantised modules among a module and those inside it.

    Args:
        module: A module of a decoder.
        where: The module's name in messages.
        dtype: The dtype of the new modules.

    Returns:
        By the `id` of the quantised module, the module that stands for it. It computes the same function.

    Raises:
        ValueError: A module is quantised in another way than by rounding the weights of a linear map.
    """
    plain = {}
    for name, part in module.named_modules():
        if _is_quantised(part):
            weight = _rounded_weights(part)
            if weight is None:
                raise ValueError(
                    f"the weights of the decoder must be floats, or quantised in a way that can be taken back exactly "
                    "(bitsandbytes with 4 bits; quanto and torchao without quantised activations); got a "
                    f"{_kind(part)} at {f'{where}.{name}'.rstrip('.')}. Load the checkpoint without quantisation to "
                    "measure it; dropping works with it as it is."
                )
            plain[id(part)] = _linear(weight, part.bias, dtype)
    return plain


def _is_quantised(module: nn.Module) -> bool:
    scheme = getattr(module, "quantization_scheme", None)  # of compressed-tensors, which replaces `forward` alone
    own = type(module).__module__.startswith(QUANTISING) or scheme is not None
    return own or not all(map(_is_float, _own_tensors(module)))


def _own_tensors(module: nn.Module) -> Iterator[Tensor]:
    for tensor in (*module._parameters.values(), *module._buffers.values()):
        if tensor is not None and tensor.dtype != torch.bool:
            yield tensor


def _is_float(tensor: Tensor) -> bool:
    """Whether a tensor holds its numbers themselves: floats of 16 bits or more, for fewer take a scale."""
    return type(tensor) in (Tensor, nn.Parameter) and tensor.is_floating_point() and tensor.itemsize > 1


def _rounded_weights(module: nn.Module) -> Tensor | None:
    """The weights by which a quantised module multiplies its input, as floats; None if it does anything else."""
    weight, kind = getattr(module, "weight", None), _kind(module)
    if kind.startswith("optimum.quanto.") and hasattr(module, "qweight"):
        return module.qweight.dequantize() if module.activation_qtype is None else None
    if kind.startswith("bitsandbytes.") and getattr(weight, "quant_state", None) is not None:
        from bitsandbytes.functional import dequantize_4bit  # installed, or there were no such module

        return dequantize_4bit(weight.data, weight.quant_state)
    of_torchao = type(module) is nn.Linear and type(weight).__module__.startswith("torchao.")
    if of_torchao and type(weight).dequantize is not Tensor.dequantize and not _rounds_activations(weight):
        return weight.dequantize()
    return None


def _rounds_activations(weight: Any) -> bool:
    """Whether a weight of torchao says what is to be done with activations, as attributes such as act_quant_kwargs."""
    told = [value for name, value in vars(weight).items() if name.startswith(("act_", "activation"))]
    return "Activation" in type(weight).__name__ or any(value is not None for value in told)


def _linear(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> nn.Linear:
    plain = nn.Linear(*weight.shape[::-1], bias=bias is not None, device="meta")
    plain.weight = nn.Parameter(weight.detach().to(dtype), requires_grad=False)
    if bias is not None:
        plain.bias = nn.Parameter(bias.detach().to(dtype), requires_grad=False)
    return plain


def _kind(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
