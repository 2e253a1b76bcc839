"""torch.compile: compiled code does not see hooks that came later, so dropping would silently not happen."""

from __future__ import annotations

import sys
from threading import Lock
from typing import Any

from torch import nn

_lock, _open = Lock(), []  # stances to go back to: one, while any `with` is open


def check_not_compiled(model: nn.Module) -> None:
    """Refuse a model that is compiled, whole or in part.

    Raises:
        ValueError: the model or a module of it was wrapped by `torch.compile`, or its `compile` was called, or its
            `forward` was replaced by a compiled one.
    """
    for name, module in model.named_modules():
        if "_orig_mod" in module._modules or module._compiled_call_impl is not None or _is_compiled(module.forward):
            where = f"its {name.removesuffix('._orig_mod')}" if name else "all of it"
            raise ValueError(
                f"the model is compiled ({where}), and compiled code does not see the hooks that drop tokens; pass the "
                "model as it was before torch.compile."
            )


def _is_compiled(forward: Any) -> bool:
    """Whether a function was made by `torch.compile`; wrappers of it, as accelerate's, have its attributes too."""
    return hasattr(forward, "_torchdynamo_orig_callable") and not getattr(forward, "_torchdynamo_disable", False)


class EagerOnly:
    """A handle: until it is removed, compiled code runs as it is written, hooks and all.

    A wrapper that `torch.compile(model)` gave earlier leaves no mark on the model, so it cannot be refused.
    """

    def __init__(self) -> None:
        """Compiled code there is only where torch's compiler was imported, which takes seconds."""
        self._needed = "torch._dynamo" in sys.modules
        if self._needed:
            with _lock:
                _open.append(_open[0] if _open else _eager())

    def remove(self) -> None:
        """The last one to go lets compiled code run again."""
        if self._needed:
            with _lock:
                stance = _open.pop()
                if not _open:
                    stance.__exit__(None, None, None)


def _eager() -> Any:
    from torch.compiler import set_stance

    stance = set_stance("force_eager")
    stance.__enter__()
    return stance
