"""torch.compile: compiled code ignores hooks that are added after compilation, so nothing would be dropped."""

from __future__ import annotations

import sys
from threading import Lock
from typing import Any

from torch import nn

_lock = Lock()
_stances: list[Any] = []  # one entry per open `with`, all the same object: set by the first, undone by the last


def check_not_compiled(model: nn.Module) -> None:
    """Refuse a model that is compiled, whole or in part.

    Raises:
        ValueError: the model or one of its modules was wrapped by `torch.compile`, its method `compile` was called, or
            its `forward` was replaced by a compiled function.
    """
    for name, module in model.named_modules():
        if "_orig_mod" in module._modules or module._compiled_call_impl is not None or _is_compiled(module.forward):
            where = f"its {name.removesuffix('._orig_mod')}" if name else "all of it"
            raise ValueError(
                f"the model is compiled ({where}), and compiled code does not see the hooks that drop tokens; pass the "
                "model as it was before torch.compile."
            )


def _is_compiled(forward: Any) -> bool:
    """Whether a function was made by `torch.compile`, or wraps such a function (accelerate copies its attributes)."""
    return hasattr(forward, "_torchdynamo_orig_callable") and not getattr(forward, "_torchdynamo_disable", False)


class EagerOnly:
    """A handle: until it is removed, functions compiled by torch.compile run eagerly, with all hooks.

    It covers the case that `check_not_compiled` cannot see: `torch.compile(model)` returns a wrapper and leaves no mark
    on the model itself.
    """

    def __init__(self) -> None:
        """Switch to eager mode, unless torch's compiler was never imported (importing it takes seconds)."""
        self._compiler_imported = "torch._dynamo" in sys.modules
        if self._compiler_imported:
            with _lock:
                _stances.append(_stances[0] if _stances else _force_eager())

    def remove(self) -> None:
        """Let compiled code run again, unless another handle is still open."""
        if self._compiler_imported:
            with _lock:
                stance = _stances.pop()
                if not _stances:
                    stance.__exit__(None, None, None)


def _force_eager() -> Any:
    from torch.compiler import set_stance

    stance = set_stance("force_eager")
    stance.__enter__()
    return stance
