"""One forward pass of the decoder: a prefill, in which tokens are dropped, or a pass of later tokens.

A `ForwardPass` is made when the decoder is called, and ends when the decoder returns or raises.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import Cache

from v2drop.engine.layer_inputs import LaterInputs, PrefillInputs
from v2drop.engine.model_call import ModelCall
from v2drop.engine.prefill import Prefill
from v2drop.engine.prompt_columns import PromptColumns
from v2drop.engine.session import Session
from v2drop.guards.state import check_batch_size, check_no_new_vision
from v2drop.models.calling import decoder_input, with_states
from v2drop.models.deepstack import Deepstack
from v2drop.sequence.cache_trimming import trim
from v2drop.types import States, Survivors


class ForwardPass:
    """A pass in which nothing is dropped; subclasses override what differs."""

    def __init__(self, session: Session, call: ModelCall) -> None:
        """Start when the decoder is called."""
        self._session, self._call = session, call

    def before_decoder(self, decoder: nn.Module, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The decoder's arguments."""
        return kwargs

    def before_layer(self, layer: int, states: States, kwargs: dict[str, Any]) -> tuple[Survivors, dict[str, Any]]:
        """A layer's arguments: hidden states, and keyword arguments."""
        return states, kwargs

    def after_layer(self, layer: int, states: States) -> States:
        """The output of a layer, as the next layer receives it."""
        return states

    def after_decoder(self, output: Any) -> Any:
        """The decoder's output, as its caller receives it; `output` is None if the decoder raised."""
        return output


class PrefillPass(ForwardPass):
    """A prompt: tokens are dropped at the layers of the schedule, and the trace is written.

    Raises:
        ValueError: `vision_mask` does not fit the prompt, or it is unknown which tokens are vision tokens.
    """

    def __init__(self, session: Session, call: ModelCall, kwargs: dict[str, Any]) -> None:
        """Find the vision tokens."""
        super().__init__(session, call)
        session.trace.clear()
        vision = session.vision_mask.for_prompt(kwargs, call.placeholders)
        method, parts, hooks = session.method, session.parts, session.hooks
        columns = PromptColumns.of_call(call.padding_mask, vision)
        session.trace.note_prompt(columns.vision, columns.not_padding)
        self._prefill = Prefill.of_columns(columns, call.placeholders, method, parts, hooks)
        self._inputs = None if self._prefill is None else PrefillInputs(self._prefill.cached, parts)
        self._deepstack: Deepstack | None = None
        self._cache: Cache | None = None
        self._previous: Tensor | None = None  # input of the layer before a drop layer, if the method `needs_previous`

    def before_decoder(self, decoder: nn.Module, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The decoder's arguments; with a drop at layer 0, those of the shortened sequence.

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
        dropped = self._prefill.select(0, self._inputs.queries, states, self._session.trace)
        if dropped is None:
            return kwargs
        layout, _, states = dropped
        kwargs = self._prefill.shorten_at_entry(layout, kwargs, states.dtype)
        self._inputs = PrefillInputs(self._prefill.cached, self._session.parts)
        return kwargs | {"inputs_embeds": states, "input_ids": None}

    def before_layer(self, layer: int, states: States, kwargs: dict[str, Any]) -> tuple[Survivors, dict[str, Any]]:
        """A layer's hidden states and arguments, after its drop if it is a drop layer."""
        prefill = self._prefill
        if prefill is not None:
            states = self._drop(layer, states, kwargs)
        if layer == 0:  # if the caller passed no cache, the decoder has made one by now
            self._cache = kwargs.get("past_key_values")
        if prefill is None:
            self._session.trace.note_layer(states.shape[1], [0] * len(states), [0] * len(states))
            return states, kwargs
        self._session.trace.note_layer(states.shape[1], list(prefill.n_left), prefill.n_prompt_tokens)
        return states, self._inputs.layer_arguments(layer, kwargs)

    def _drop(self, layer: int, states: States, kwargs: dict[str, Any]) -> Survivors:
        """The layer's hidden states, after its drop if it is a drop layer. Stored if the next layer needs them."""
        method, layers = self._session.method, self._session.method.schedule.left
        if layer == 0:
            self._prefill.annotate(states)
        elif layer in layers:
            arguments = self._inputs.layer_arguments(layer, kwargs)
            inputs = self._previous, arguments["position_embeddings"], arguments.get("attention_mask")
            dropped = self._prefill.select(layer, self._inputs.queries, states, self._session.trace, *inputs)
            if dropped is not None:
                layout, columns, states = dropped
                self._prefill.cached.note_drop(layer, layout)
                self._inputs.continue_with(layout)
                self._session.hooks.columns_kept(columns)
            if method.trims_caches and layer == max(layers):
                trim(self._prefill.cached, kwargs.get("past_key_values"), min(layers), layer)
        self._previous = states if method.needs_previous and layer + 1 in layers else None
        return states

    def after_layer(self, layer: int, states: States) -> States:
        """The output of a layer, with the DeepStack features of the remaining vision tokens added."""
        if self._deepstack is None:
            return states
        return self._deepstack.add_to(layer, states, self._prefill.columns.origin.gather(1, self._inputs.queries.index))

    def after_decoder(self, output: Any) -> Any:
        """The output at the caller's length."""
        if output is None:
            return output
        self._session.caches.register(self._cache, None if self._prefill is None else self._prefill.cached)
        if self._prefill is None:
            return output
        return with_states(output, self._prefill.cached.restored(output[0]))


class LaterPass(ForwardPass):
    """Generated tokens, or any others after a prefill: the caches of some layers are shorter than the prompt was."""

    def __init__(self, session: Session, call: ModelCall, past: int) -> None:
        """Start with a cache whose first layer holds `past` tokens."""
        super().__init__(session, call)
        self._past, self._inputs = past, None

    def before_decoder(self, decoder: nn.Module, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The decoder's arguments, with mask and position ids that fit the cache.

        Raises:
            ValueError: there are new image tokens, rows or cache changed, or the cache is from another `with`.
        """
        call, past = self._call, self._past
        check_no_new_vision(call.placeholders, past)
        n_new = decoder_input(kwargs).shape[1]
        cached = self._session.caches.prompt_of(kwargs["past_key_values"], call.mask, n_new)
        if cached is None:
            return kwargs
        check_batch_size(kwargs, cached.rows)
        if cached.cache_spans:
            self._inputs = LaterInputs(cached, self._session.parts, past, call.mask)
        return cached.inputs_after(kwargs, past, call.mask, call.counts_by_cache)

    def before_layer(self, layer: int, states: States, kwargs: dict[str, Any]) -> tuple[Survivors, dict[str, Any]]:
        """The layer's arguments, adapted to the contents of its cache."""
        if self._inputs is None:
            return states, kwargs
        self._inputs.resume_at(layer, states.shape[1])
        return states, self._inputs.layer_arguments(layer, kwargs)
