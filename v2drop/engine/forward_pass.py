"""One forward pass of the decoder: a prefill, from which tokens are dropped, or tokens that follow it.

A pass is made when the decoder is called and gone when the decoder returns or raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import get_ident
from typing import Any

from torch import Tensor, nn

from v2drop.engine.contract import Dropper, Hooks
from v2drop.engine.layer_inputs import LaterInputs, PrefillInputs
from v2drop.engine.model_call import ModelCall
from v2drop.engine.prefill import Prefill
from v2drop.engine.prompt_columns import PromptColumns
from v2drop.engine.trace import Trace
from v2drop.engine.vision_mask import VisionMask
from v2drop.guards.state import check_batch_size, check_no_new_vision
from v2drop.models.calling import decoder_input, with_states
from v2drop.models.deepstack import Deepstack
from v2drop.models.parts import ModelParts
from v2drop.sequence.cache_registry import CacheRegistry
from v2drop.types import States, Survivors


@dataclass(frozen=True)
class Session:
    """What all forward passes of one `with` share; made on entry, gone on exit.

    Attributes:
        method: the method that drops.
        parts: modules of the model.
        vision_mask: the user's `vision_mask`.
        hooks: the method's own hooks.
        caches: the prompts of this `with`, by the cache they filled.
        trace: what the latest prompt kept.
    """

    method: Dropper
    parts: ModelParts
    vision_mask: VisionMask
    hooks: Hooks
    caches: CacheRegistry
    trace: Trace

    @property
    def reads_cache(self) -> bool:
        """Whether the method reads or changes what KV caches hold."""
        return self.method.trims_caches or self.hooks.reads_cache


class ForwardPass:
    """A pass in which nothing is dropped; the two kinds of passes say what is different.

    Attributes:
        thread: the thread that runs this pass.
    """

    def __init__(self, session: Session, call: ModelCall) -> None:
        """Start in the thread that calls the decoder."""
        self.thread = get_ident()
        self._session, self._call = session, call

    def before_decoder(self, decoder: nn.Module, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments that the decoder is called with."""
        return kwargs

    def before_layer(self, layer: int, states: States, kwargs: dict[str, Any]) -> tuple[Survivors, dict[str, Any]]:
        """What a layer is called with: hidden states, and keyword arguments."""
        return states, kwargs

    def after_layer(self, layer: int, states: States) -> States:
        """What a layer wrote, as the next one reads it."""
        return states

    def after_decoder(self, output: Any) -> Any:
        """What the decoder returns to its caller; `output` is None if it raised."""
        return output


class PrefillPass(ForwardPass):
    """A prompt: tokens are dropped at the layers of the schedule, and the trace is written.

    Raises:
        ValueError: `vision_mask` does not fit the prompt, or nobody knows which of its tokens are vision tokens.
    """

    def __init__(self, session: Session, call: ModelCall, kwargs: dict[str, Any]) -> None:
        """Find the vision tokens."""
        super().__init__(session, call)
        session.trace.clear()
        vision = session.vision_mask.for_prompt(kwargs, call.placeholders)
        method, parts, hooks = session.method, session.parts, session.hooks
        columns = PromptColumns.of_call(call.padding_mask, vision)
        self._prefill = Prefill.of_columns(columns, call.placeholders, method, parts, hooks)
        self._inputs = None if self._prefill is None else PrefillInputs(self._prefill.cached, parts)
        self._deepstack: Deepstack | None = None
        self._previous: Tensor | None = None  # input of the layer before, where the method compares

    def before_decoder(self, decoder: nn.Module, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The decoder's arguments; after a drop at layer 0 those of the shorter sequence, so that masks and cache fit.

        Raises:
            ValueError: position ids say that several sequences are packed into a row.
        """
        if self._prefill is None:
            return kwargs
        self._deepstack, kwargs = Deepstack.taken_from(kwargs)
        if not (self._session.method.merges_at_entry or 0 in self._session.method.schedule.left):
            return kwargs
        states = decoder_input(kwargs)
        states = states if kwargs.get("input_ids") is None else decoder.get_input_embeddings()(states)
        dropped = self._prefill.drop(0, self._inputs.queries, states, self._session.trace)
        if dropped is None:
            return kwargs
        layout, _, states = dropped
        kwargs = self._prefill.shorten_at_entry(layout, kwargs, states.dtype)
        self._inputs = PrefillInputs(self._prefill.cached, self._session.parts)
        return kwargs | {"inputs_embeds": states, "input_ids": None}

    def before_layer(self, layer: int, states: States, kwargs: dict[str, Any]) -> tuple[Survivors, dict[str, Any]]:
        """The states and arguments that are left after the layer's drop, if it has one."""
        prefill = self._prefill
        if prefill is not None:
            states = self._drop(layer, states, kwargs)
        if layer == 0:  # the decoder has made the cache by now, if the caller gave none
            cache = kwargs.get("past_key_values")
            self._session.caches.register(cache, None if prefill is None else prefill.cached)
        if prefill is None:
            self._session.trace.note_layer(states.shape[1], [0] * len(states), [0] * len(states))
            return states, kwargs
        self._session.trace.note_layer(states.shape[1], list(prefill.n_left), prefill.n_prompt_tokens)
        return states, self._inputs.layer_arguments(layer, kwargs)

    def _drop(self, layer: int, states: States, kwargs: dict[str, Any]) -> Survivors:
        """Drop at a layer of the schedule; remember the states that the next layer's score will compare with."""
        method, layers = self._session.method, self._session.method.schedule.left
        if layer == 0:
            self._prefill.annotate(states)
        elif layer in layers:
            arguments = self._inputs.layer_arguments(layer, kwargs)
            beside = self._previous, arguments["position_embeddings"], arguments.get("attention_mask")
            dropped = self._prefill.drop(layer, self._inputs.queries, states, self._session.trace, *beside)
            if dropped is not None:
                layout, columns, states = dropped
                self._prefill.cached.note_drop(layer, layout)
                self._inputs.drop(layout)
                self._session.hooks.columns_dropped(columns)
            if method.trims_caches and layer == max(layers):
                self._prefill.cached.trim(kwargs.get("past_key_values"), min(layers), layer)
        self._previous = states if method.needs_previous and layer + 1 in layers else None
        return states

    def after_layer(self, layer: int, states: States) -> States:
        """What a layer wrote, with the features that the decoder would add to all of the prompt's vision tokens."""
        if self._deepstack is None:
            return states
        return self._deepstack.add_to(layer, states, self._prefill.columns.origin.gather(1, self._inputs.queries.index))

    def after_decoder(self, output: Any) -> Any:
        """The output at the caller's length."""
        if output is None or self._prefill is None:
            return output
        return with_states(output, self._prefill.cached.restored(output[0]))


class LaterPass(ForwardPass):
    """Generated tokens, or any others after a prefill: the caches of some layers are shorter than the prompt was."""

    def __init__(self, session: Session, call: ModelCall, past: int) -> None:
        """Go on from a cache whose first layer holds `past` tokens."""
        super().__init__(session, call)
        self._past, self._inputs = past, None

    def before_decoder(self, decoder: nn.Module, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The decoder's arguments, with mask and position ids that fit the cache.

        Raises:
            ValueError: new image tokens came; the cache is of another `with`, was changed since, or has other rows.
        """
        call, past = self._call, self._past
        check_no_new_vision(call.placeholders, past)
        cached = self._session.caches.prompt_of(kwargs["past_key_values"])
        if cached is None:
            return kwargs
        check_batch_size(kwargs, cached.rows)
        if cached.cache_layers:
            self._inputs = LaterInputs(cached, self._session.parts, past, call.mask)
        return cached.inputs_after(kwargs, past, call.mask, call.counts_by_cache)

    def before_layer(self, layer: int, states: States, kwargs: dict[str, Any]) -> tuple[Survivors, dict[str, Any]]:
        """The layer's arguments, made to fit what its cache holds."""
        if self._inputs is None:
            return states, kwargs
        self._inputs.resume_at(layer, states.shape[1])
        return states, self._inputs.layer_arguments(layer, kwargs)
