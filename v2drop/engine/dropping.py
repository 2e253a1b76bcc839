"""The context manager that makes an unmodified model drop tokens. It knows no method.

A pre-hook on every decoder layer drops hidden states at the layers of the schedule. From there on, it slices the mask,
the position ids and the rotary angles that the decoder passes to each layer. A KV cache gets shorter by itself, because
a layer caches the states it is called with. A hook on the decoder restores the result to the caller's length. A drop at
layer 0 shortens the embeddings before the decoder makes its masks.

Two sequences are told apart: the *caller's*, which the model was called with, and the *entering* one, which enters
layer 0 and is shorter after a drop at layer 0. Positions in the trace are the caller's; layouts count in the entering
one.
"""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import Any
from weakref import WeakSet

from torch import Tensor, nn

from v2drop.engine.contract import Dropper
from v2drop.engine.finite_gradients import FiniteGradients
from v2drop.engine.forward_pass import ForwardPass, LaterPass, PrefillPass
from v2drop.engine.model_call import ModelCall
from v2drop.engine.session import Session
from v2drop.engine.trace import Trace
from v2drop.engine.vision_mask import VisionMask
from v2drop.guards.forward import check_forward
from v2drop.guards.generate import install_guards
from v2drop.guards.one_thread import NotPickled, OneThread
from v2drop.models.parts import locate
from v2drop.sequence.cache_registry import CacheRegistry
from v2drop.sequence.position_ids import check_within

_active: WeakSet[nn.Module] = WeakSet()  # decoders inside a `with`; kept here, so that models need no extra attribute
_claiming = Lock()  # two threads may enter at once


class Dropping(NotPickled):
    """`with Dropping(method, model, vision_mask) as trace`; the result of calling a method on a model.

    Every `with` has a new session (trace, hooks, caches), in `_session`. `_pass` is the forward pass that runs; None
    between passes.

    Args:
        method: the method that drops.
        model: model of a supported family.
        vision_mask: BoolTensor [batch, sequence], True at positions that may be dropped; None: the image placeholders.

    Raises:
        ValueError: at once, if the model is not supported, lacks a layer of the schedule or of `positions`, or what the
            method needs, or if the mask is no such tensor or is missing for a text model; on entry, if the model is
            already inside a `with`; in a forward pass, if it cannot have a right result (`v2drop.guards`).
    """

    def __init__(self, method: Dropper, model: nn.Module, vision_mask: Tensor | None = None) -> None:
        """Check all that can be checked before anything runs; no hook is installed yet."""
        self._method, self._model, self._parts = method, model, locate(model)
        method.schedule.check_layers(len(self._parts.layers))
        check_within(method.positions, len(self._parts.layers))
        method.check_model(self._parts)
        self._vision_mask = vision_mask
        self._new_vision_mask()  # only to refuse a wrong mask at once; every `with` makes its own
        self._session: Session | None = None  # None outside the `with`
        self._one_thread: OneThread | None = None  # a new one for every `with`
        self._handles: list[Any] = []
        self._call = ModelCall()  # the current call of the model, until its decoder is called
        self._pass: ForwardPass | None = None

    def _new_vision_mask(self) -> VisionMask:
        return VisionMask(self._vision_mask, self._parts)

    def __enter__(self) -> Trace:
        """Install the hooks and return the trace, which is empty until a prompt runs."""
        with _claiming:
            if self._parts.decoder in _active:
                raise ValueError("the model is already inside a dropping `with`; leave that one first.")
            _active.add(self._parts.decoder)
        self._one_thread = OneThread(clean_up=self._clean_up)
        try:
            self._session = self._new_session()
            self._install(self._session)
        except BaseException:
            self.__exit__()
            raise
        return self._session.trace

    def _new_session(self) -> Session:
        caches = CacheRegistry(len(self._parts.layers), self._vision_mask is not None)
        return Session(self._method, self._parts, self._new_vision_mask(), self._method.hooks(), caches, Trace())

    def _install(self, session: Session) -> None:
        parts, add = self._parts, self._handles.append
        if parts.vlm_module is not None:
            add(parts.vlm_module.register_forward_pre_hook(self._before_vlm, with_kwargs=True))
            add(parts.vlm_module.register_forward_hook(self._after_vlm, always_call=True))
        add(parts.decoder.register_forward_pre_hook(self._before_decoder, with_kwargs=True))
        self._handles += session.hooks.install(parts, self._method.schedule.layers)
        for number, layer in enumerate(parts.layers):
            add(layer.register_forward_pre_hook(partial(self._before_layer, number), with_kwargs=True))
            if parts.deepstack:
                add(layer.register_forward_hook(partial(self._after_layer, number)))
        add(parts.decoder.register_forward_hook(self._after_decoder, always_call=True))
        self._handles += FiniteGradients().install(parts.lm_head)
        self._handles += install_guards(self._model, self._one_thread, session.reads_cache)
        depths = {self._model: 0, parts.vlm_module: 1, parts.decoder: 2, parts.vision_tower: 2}
        for module, depth in depths.items():
            if module is not None:
                self._handles += self._one_thread.hooks(module, depth)

    def __exit__(self, *exception: object) -> None:
        """Remove every hook, also after an exception; wait first for a run in another thread."""
        self._one_thread.close()

    def _clean_up(self) -> None:
        while self._handles:
            self._handles.pop().remove()
        if self._session is not None:
            self._session.caches.close()
        self._session, self._call, self._pass = None, ModelCall(), None
        _active.discard(self._parts.decoder)  # last: another thread may enter now

    def _check_call(self, module: nn.Module, args: tuple, kwargs: dict) -> dict[str, Any]:
        """Check a call of a module; returns the arguments by name."""
        return check_forward(self._parts, module, args, kwargs, self._session.reads_cache)

    def _before_vlm(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        arguments = self._check_call(module, args, kwargs)
        self._call = ModelCall.from_vlm_module(arguments, self._parts)

    def _after_vlm(self, module: nn.Module, args: tuple, output: Any) -> None:
        if self._pass is None and self._one_thread.runs_here():
            self._call = ModelCall()  # the call may have failed before its decoder ran

    def _before_decoder(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        kwargs = self._check_call(module, args, kwargs)
        if self._pass is not None:  # an interrupt (KeyboardInterrupt) ended it, and torch then runs no hook
            self._pass = None
            self._session.hooks.pass_ends()
        call, self._call = self._call.with_decoder(kwargs, self._parts), ModelCall()
        cache = kwargs.get("past_key_values")
        past = 0 if cache is None else cache.get_seq_length()
        if past:
            self._pass = LaterPass(self._session, call, past)
        else:
            self._pass = PrefillPass(self._session, call, kwargs)
        return (), self._pass.before_decoder(module, kwargs)

    def _before_layer(self, layer: int, _: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if self._pass is None or not self._one_thread.runs_here():
            return None  # a layer called by itself
        states, kwargs = self._pass.before_layer(layer, args[0] if args else kwargs["hidden_states"], kwargs)
        return ((states, *args[1:]), kwargs) if args else ((), kwargs | {"hidden_states": states})

    def _after_layer(self, layer: int, _: nn.Module, args: tuple, states: Tensor) -> Tensor:
        if self._pass is None or not self._one_thread.runs_here():
            return states
        return self._pass.after_layer(layer, states)

    def _after_decoder(self, module: nn.Module, args: tuple, output: Any) -> Any:
        if self._pass is None or not self._one_thread.runs_here():
            return output  # the call was refused; a pass that another call started may still be running
        finished, self._pass = self._pass, None
        self._session.hooks.pass_ends()
        return finished.after_decoder(output)
