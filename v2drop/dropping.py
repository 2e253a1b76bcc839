"""The context manager that makes an unmodified model drop tokens. It knows no method.

A pre-hook on every decoder layer narrows the hidden states at the layers of the schedule and, from there on, cuts the
mask and the position ids that the model's own loop hands to each layer. The KV cache follows by itself: a layer caches
what it is given. A hook on the decoder puts the result back to full length. A drop at layer 0 shortens the embeddings
before the model makes its masks. Positions are the caller's in the trace, those of what enters layer 0 elsewhere.
"""

from __future__ import annotations

from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from torch import Tensor, nn

from v2drop import checks
from v2drop.call import Call
from v2drop.deepstack import Deepstack
from v2drop.generating import guards
from v2drop.head import finite_gradients
from v2drop.held import cut
from v2drop.layout import with_states
from v2drop.marked import Marked
from v2drop.memory import Memory
from v2drop.models import Parts, locate
from v2drop.prompt import Prompt
from v2drop.run import Run
from v2drop.sight import Beside
from v2drop.trace import Trace

if TYPE_CHECKING:
    from v2drop.methods.base import Method

_active: WeakSet[nn.Module] = WeakSet()  # decoders inside a `with`; nothing is written on a model to remember them


class Dropping:
    """`with Dropping(method, model, vision_mask) as trace`; made by calling a method on a model.

    Raises:
        ValueError: on entry, for a model that is unsupported or inside another `with`, or a layer outside it; in a
            forward pass of a kind that cannot be followed (`v2drop.checks`).
    """

    def __init__(self, method: Method, model: nn.Module, vision_mask: Tensor | None = None) -> None:
        """Check what can be checked before anything runs; nothing is put on the model yet."""
        self._method, self._parts = method, locate(model)
        method.schedule.check_layers(len(self._parts.layers))
        method.check_model(self._parts)
        self._marked = Marked(vision_mask, self._parts)
        self._trace, self._handles = Trace(), []
        self._memory = Memory(len(self._parts.layers), vision_mask is not None)
        self._call = Call()  # what the model was called with, in this forward pass
        self._deepstack: Deepstack | None = None  # what the decoder would add to tokens that may be gone
        self._previous: Tensor | None = None  # input of the layer before, where the method compares
        self._watcher = method.watcher()
        self._model, self._reads = model, method.cuts_caches or self._watcher.reads_cache
        self._prompt: Prompt | None = None  # the prefill that this forward pass is, or goes on from
        self._run: Run | None = None  # this forward pass, if anything is dropped from it or was from its cache
        self._past = 0  # tokens cached before this forward pass
        self._thread: int | None = None  # which runs a forward pass

    def __enter__(self) -> Trace:
        """Hook the model."""
        if self._parts.decoder in _active:
            raise ValueError("the model is already inside a dropping `with`; leave that one first.")
        _active.add(self._parts.decoder)
        try:
            self._hook(self._parts)
        except BaseException:
            self.__exit__()
            raise
        return self._trace

    def _hook(self, parts: Parts) -> None:
        if parts.receiver is not None:
            self._handles.append(parts.receiver.register_forward_pre_hook(self._see_ids, with_kwargs=True))
        self._handles.append(parts.decoder.register_forward_pre_hook(self._before_decoder, with_kwargs=True))
        self._handles += self._watcher.hooks(parts, self._method.schedule.layers)
        for number, layer in enumerate(parts.layers):
            self._handles.append(layer.register_forward_pre_hook(partial(self._before_layer, number), with_kwargs=True))
            if parts.deepstack:
                self._handles.append(layer.register_forward_hook(partial(self._after_layer, number)))
        after = parts.decoder.register_forward_hook(self._after_decoder, always_call=True)
        self._handles += [after, *finite_gradients(parts.head)]
        self._handles += guards(self._model, self._reads)

    def __exit__(self, *exception: object) -> None:
        """Take every hook away again, whatever happened."""
        while self._handles:
            self._handles.pop().remove()
        _active.discard(self._parts.decoder)
        self._forget()
        self._watcher, self._prompt = self._method.watcher(), None  # and the notes of the old one are let go
        self._memory.clear()
        self._marked.forget()

    def __deepcopy__(self, memo: dict) -> Dropping:
        """A copy of a hooked model keeps hooks that lead here, where it is refused."""
        return self

    def _forget(self, call: Call | None = None) -> None:
        self._call, self._previous, self._run, self._deepstack, self._thread = call or Call(), None, None, None, None

    def _see_ids(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        checks.ours(module is self._parts.receiver, self._thread)
        self._call = Call.of(checks.forward(self._parts, module, args, kwargs, self._reads), self._parts)

    def _before_decoder(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        checks.ours(module is self._parts.decoder, self._thread)
        kwargs = checks.forward(self._parts, module, args, kwargs, self._reads)
        self._forget(call := self._call.completed(kwargs, self._parts))
        self._thread, cache = get_ident(), kwargs.get("past_key_values")
        self._past = past = 0 if cache is None else cache.get_seq_length()
        if past:
            checks.no_new_vision(call.placeholders, past)
            return (), self._go_on(kwargs, past)
        self._trace.clear()
        vision = self._marked.of_call(kwargs, call.placeholders)
        self._prompt = Prompt.of_call(call.flat, vision, self._method, self._parts)
        if self._prompt is not None:
            self._run = Run(self._prompt, self._parts)
            self._deepstack, kwargs = Deepstack.taken(kwargs)
            if self._method.enters or 0 in self._method.schedule.left:
                kwargs = self._drop_embeddings(module, kwargs)
        return (), kwargs

    def _drop_embeddings(self, module: nn.Module, kwargs: dict) -> dict:
        """A drop at layer 0: the model is called on the shorter sequence; masks and cache follow."""
        states = checks.tensor(kwargs)
        states = states if kwargs.get("input_ids") is None else module.get_input_embeddings()(states)
        beside = Beside(self._parts, self._watcher, self._call.placeholders)
        narrowed = self._prompt.drop(0, self._run.queries, states, beside, self._trace)
        if narrowed is None:
            return kwargs
        kwargs = self._prompt.enter(narrowed[0], kwargs, states.dtype)
        self._run = Run(self._prompt, self._parts)
        return kwargs | {"inputs_embeds": narrowed[2], "input_ids": None}

    def _go_on(self, kwargs: dict, past: int) -> dict:
        """Generation, or any tokens after the prefill: the caches of some layers are shorter."""
        prompt = self._prompt = self._memory.of(kwargs["past_key_values"])
        if prompt is None:
            return kwargs
        checks.same_rows(kwargs, len(prompt.of))
        if prompt.held:
            self._run = Run(prompt, self._parts, past, self._call.mask)
        return prompt.continued(kwargs, past, self._call)

    def _before_layer(self, layer: int, _: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        states, run = args[0] if args else kwargs["hidden_states"], self._run
        if run is not None and run.past:
            run.follow(layer, states.shape[1])
        elif run is not None:
            states = self._narrow(layer, states, kwargs)
        if not self._past:
            if layer == 0:  # the decoder has made the cache by now, if the caller gave none
                self._memory.note(kwargs.get("past_key_values"), self._prompt)
            left, of = ([0] * len(states),) * 2 if run is None else (list(self._prompt.left), self._prompt.of)
            self._trace.note(states.shape[1], left, of)
        if run is None or run.keys is None:
            return None
        kwargs = run.cut(layer, kwargs)
        return ((states, *args[1:]), kwargs) if args else ((), kwargs | {"hidden_states": states})

    def _narrow(self, layer: int, states: Tensor, kwargs: dict) -> Tensor:
        """Drop at a layer of the schedule, in the prefill; note what the next layer's score will compare with."""
        run, prompt, layers = self._run, self._prompt, self._method.schedule.left
        if layer == 0:
            prompt.start(states, self._watcher)
        elif layer in layers:
            given = kwargs if run.keys is None else run.cut(layer, kwargs)
            seen = given["position_embeddings"], given.get("attention_mask")
            beside = Beside(self._parts, self._watcher, self._call.placeholders, self._previous, *seen)
            narrowed = prompt.drop(layer, run.queries, states, beside, self._trace)
            if narrowed is not None:
                layout, columns, states = narrowed
                prompt.segments[layer], prompt.held[layer] = layout, (layout, layout)
                run.narrow(layout, prompt.moved(layout)[0])
                self._watcher.narrow(columns)
            if self._method.cuts_caches and layer == max(layers):
                cut(kwargs.get("past_key_values"), prompt, min(layers), layer)
        self._previous = states if self._method.needs_previous and layer + 1 in layers else None
        return states

    def _after_layer(self, layer: int, _: nn.Module, args: tuple, states: Tensor) -> Tensor:
        if self._deepstack is None:
            return states
        return self._deepstack.added(layer, states, self._prompt.position.gather(1, self._run.queries.index))

    def _after_decoder(self, module: nn.Module, args: tuple, output: Any) -> Any:
        if self._thread != get_ident() or module is not self._parts.decoder:
            return output  # of a call that was refused; the pass that runs goes on
        run = self._run
        self._forget()
        self._watcher.forget()
        whole = output is None or run is None or run.past  # None: an exception broke the pass off
        return output if whole else with_states(output, self._prompt.restored(output[0]))
