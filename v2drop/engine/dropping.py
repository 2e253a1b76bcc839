"""The context manager that makes an unmodified model drop tokens. It knows no method.

A pre-hook on every decoder layer drops hidden states at the layers of the schedule and, from there on, slices the mask
and the position ids that the model's own loop hands to each layer. The KV cache follows by itself: a layer caches what
it is given. A hook on the decoder puts the result back to full length. A drop at layer 0 shortens the embeddings before
the model makes its masks. Positions are the caller's in the trace, those of what enters layer 0 elsewhere.
"""

from __future__ import annotations

from functools import partial
from threading import get_ident
from typing import Any
from weakref import WeakSet

from torch import Tensor, nn

from v2drop.engine.contract import Dropper
from v2drop.engine.forward_pass import ForwardPass, LaterPass, PrefillPass, Session
from v2drop.engine.lm_head import finite_gradients
from v2drop.engine.model_call import ModelCall
from v2drop.engine.trace import Trace
from v2drop.engine.vision_mask import VisionMask
from v2drop.guards.forward import check_forward
from v2drop.guards.generate import install_guards
from v2drop.guards.state import check_same_model_and_thread
from v2drop.models.parts import locate
from v2drop.sequence.cache_registry import CacheRegistry

_active: WeakSet[nn.Module] = WeakSet()  # decoders inside a `with`; nothing is written on a model to remember them


class Dropping:
    """`with Dropping(method, model, vision_mask) as trace`; made by calling a method on a model.

    Every `with` has a session of its own, with a trace and hooks of its own. A forward pass, while one runs, is
    `_pass`.

    Args:
        method: the method that drops.
        model: a model of a supported family.
        vision_mask: BoolTensor [batch, sequence], positions that may be dropped; None: the image placeholders.

    Raises:
        ValueError: at once, for a model that is unsupported, a schedule with a layer outside it, or a mask of another
            kind; on entry, for a model inside another `with`; in a forward pass of a kind that cannot be followed
            (`v2drop.guards.forward`).
    """

    def __init__(self, method: Dropper, model: nn.Module, vision_mask: Tensor | None = None) -> None:
        """Check what can be checked before anything runs; nothing is put on the model yet."""
        self._method, self._model, self._parts = method, model, locate(model)
        method.schedule.check_layers(len(self._parts.layers))
        method.check_model(self._parts)
        self._vision_mask = vision_mask
        self._marked()
        self._session: Session | None = None  # inside the `with`
        self._handles: list[Any] = []
        self._call = ModelCall()  # what the model was called with, until its decoder is called
        self._pass: ForwardPass | None = None

    def _marked(self) -> VisionMask:
        return VisionMask(self._vision_mask, self._parts)

    def __enter__(self) -> Trace:
        """Hook the model."""
        if self._parts.decoder in _active:
            raise ValueError("the model is already inside a dropping `with`; leave that one first.")
        memory = CacheRegistry(len(self._parts.layers), self._vision_mask is not None)
        own = self._method.hooks()
        self._session = Session(self._method, self._parts, self._marked(), own, memory, Trace())
        _active.add(self._parts.decoder)
        try:
            self._install(self._session)
        except BaseException:
            self.__exit__()
            raise
        return self._session.trace

    def _install(self, session: Session) -> None:
        parts, add = self._parts, self._handles.append
        if parts.vlm_module is not None:
            add(parts.vlm_module.register_forward_pre_hook(self._before_receiver, with_kwargs=True))
            add(parts.vlm_module.register_forward_hook(self._after_receiver, always_call=True))
        add(parts.decoder.register_forward_pre_hook(self._before_decoder, with_kwargs=True))
        self._handles += session.hooks.install(parts, self._method.schedule.layers)
        for number, layer in enumerate(parts.layers):
            add(layer.register_forward_pre_hook(partial(self._before_layer, number), with_kwargs=True))
            if parts.deepstack:
                add(layer.register_forward_hook(partial(self._after_layer, number)))
        add(parts.decoder.register_forward_hook(self._after_decoder, always_call=True))
        self._handles += finite_gradients(parts.lm_head)
        self._handles += install_guards(self._model, session.reads_cache)

    def __exit__(self, *exception: object) -> None:
        """Take every hook away again, whatever happened."""
        while self._handles:
            self._handles.pop().remove()
        _active.discard(self._parts.decoder)
        self._session, self._call, self._pass = None, ModelCall(), None

    def __deepcopy__(self, memo: dict) -> Dropping:
        """A copy of a hooked model keeps hooks that lead here, where it is refused."""
        return self

    def _checked(self, original: nn.Module, module: nn.Module, args: tuple, kwargs: dict) -> dict[str, Any]:
        """A call's arguments by name, if it is a call that can be followed."""
        check_same_model_and_thread(module is original, None if self._pass is None else self._pass.thread)
        return check_forward(self._parts, module, args, kwargs, self._session.reads_cache)

    def _before_receiver(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self._call = ModelCall.from_receiver(self._checked(self._parts.vlm_module, module, args, kwargs), self._parts)

    def _after_receiver(self, module: nn.Module, args: tuple, output: Any) -> None:
        if self._pass is None and module is self._parts.vlm_module:
            self._call = ModelCall()  # of a call that failed before its decoder ran

    def _before_decoder(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        kwargs = self._checked(self._parts.decoder, module, args, kwargs)
        call, self._call = self._call.with_decoder(kwargs, self._parts), ModelCall()
        cache = kwargs.get("past_key_values")
        past = 0 if cache is None else cache.get_seq_length()
        if past:
            self._pass = LaterPass(self._session, call, past)
        else:
            self._pass = PrefillPass(self._session, call, kwargs)
        return (), self._pass.before_decoder(module, kwargs)

    def _before_layer(self, layer: int, _: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if self._pass is None:
            return None  # a layer called by itself
        states, kwargs = self._pass.before_layer(layer, args[0] if args else kwargs["hidden_states"], kwargs)
        return ((states, *args[1:]), kwargs) if args else ((), kwargs | {"hidden_states": states})

    def _after_layer(self, layer: int, _: nn.Module, args: tuple, states: Tensor) -> Tensor:
        return states if self._pass is None else self._pass.after_layer(layer, states)

    def _after_decoder(self, module: nn.Module, args: tuple, output: Any) -> Any:
        if self._pass is None or module is not self._parts.decoder or self._pass.thread != get_ident():
            return output  # of a call that was refused; the pass that runs goes on
        finished, self._pass = self._pass, None
        self._session.hooks.pass_ends()
        return finished.after_decoder(output)
