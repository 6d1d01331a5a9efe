"""Listens to module calls, and to functions whose operations belong together."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final

from accelsim.workload.importers._torch_opaque import Opaque
from accelsim.workload.importers._torch_recording import Frame, Ref
from accelsim.workload.importers._torch_tape import Tape

__all__ = ["hooks", "watching"]

WATCHED: Final = re.compile(
    r"apply_(rotary|rope|multimodal_rotary)\w*|rotary_emb\w*_apply|eager_attention_forward"
    r"|causal_conv1d_(fn|update)"
)
"""Functions of a modelling file whose operations belong together."""

METHODS: Final = ("update", "update_conv_state", "update_recurrent_state")
"""Methods of the cache classes of transformers that append to a cache or replace a state."""

_FACTS: Final = ("is_causal", "sliding_window", "num_key_value_heads", "top_k", "num_experts")
_LAYERS: Final = re.compile(r"Linear|Conv|Embedding|Expert")


@contextmanager
def hooks(tape: Tape, module: Any) -> Iterator[None]:
    """Open a frame for every module call."""

    def before(path: str, below: bool) -> Callable[..., None]:
        def hook(called: Any, _: Any) -> None:
            config = getattr(called, "config", None)
            facts = {
                name: value
                for name in _FACTS
                if isinstance(value := getattr(called, name, None), (bool, int))
            }
            if "is_causal" in facts and "sliding_window" not in facts and config is not None:
                window = getattr(config, "sliding_window", None)
                if isinstance(window, int):
                    facts["sliding_window"] = window
            frame = Frame(path, type(called).__name__, tape.stack[-1], False, below, facts)
            tape.enter(frame)

        return hook

    def after(*_: Any) -> None:
        tape.leave()

    with ExitStack() as stack:
        for path, child in module.named_modules():
            below = any(_LAYERS.search(type(m).__name__) for m in child.modules())
            stack.callback(child.register_forward_pre_hook(before(path, below)).remove)
            stack.callback(child.register_forward_hook(after, always_call=True).remove)
        yield


def _watch(tape: Tape, function: Callable[..., Any], opaque: Opaque | None) -> Any:
    """Return `function` wrapped so that its calls become a frame, or one opaque call."""
    import torch
    from torch.utils._pytree import tree_flatten

    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = {n: v for n, v in bound.arguments.items() if isinstance(v, torch.Tensor)}
        frame = Frame(
            tape.frames[tape.stack[-1]].path, function.__name__, tape.stack[-1], True,
            arguments={name: tape.view(tensor) for name, tensor in given.items()},
        )  # fmt: skip
        number = tape.enter(frame)
        try:
            if opaque is None:
                out = function(*args, **kwargs)
            else:
                out = _run_whole(tape, function, bound, opaque)
        finally:
            tape.leave()
        made = [t for t in tree_flatten(out)[0] if isinstance(t, torch.Tensor)]
        tape.frames[number] = replace(frame, results=tuple(tape.view(t) for t in made))
        return out

    return wrapped


def _run_whole(tape: Tape, function: Any, bound: Any, opaque: Opaque) -> Any:
    """Return the results of a function taken whole, and add the one call that stands for it."""
    import torch
    from torch.utils._pytree import tree_flatten

    given = dict(bound.arguments)
    tape.paused = True
    try:
        if opaque.results is None:
            out = function(*bound.args, **bound.kwargs)
        else:
            made = opaque.results(given)
            out = made if len(made) > 1 else made[0]
    finally:
        tape.paused = False
    tensors = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
    arguments: dict[str, Any] = {
        name: value for name, value in given.items() if isinstance(value, (bool, int, float, str))
    }
    arguments |= {name: Ref(place) for place, name in enumerate(tensors)}
    results = [leaf for leaf in tree_flatten(out)[0] if isinstance(leaf, torch.Tensor)]
    written = [tensors[name] for name in opaque.written if name in tensors]
    tape.call(opaque.op, list(tensors.values()), arguments, results, written)
    return out


@contextmanager
def watching(tape: Tape, module: Any, opaque: Mapping[str, Opaque]) -> Iterator[None]:
    """Wrap the watched and the opaque functions of the packages that the module comes from."""
    packages = {type(m).__module__.partition(".")[0] for m in module.modules()} - {"torch"}
    places: list[tuple[Any, str, Any]] = []
    for name, loaded in list(sys.modules.items()):
        if name.partition(".")[0] not in packages:
            continue
        for attribute, value in list(getattr(loaded, "__dict__", {}).items()):
            known = attribute in opaque or WATCHED.fullmatch(attribute)
            if known and callable(value) and not isinstance(value, type):
                places.append((loaded, attribute, value))
    caches = sys.modules.get("transformers.cache_utils")
    if caches is not None:
        places += [
            (caches.Cache, m, vars(caches.Cache)[m]) for m in METHODS if m in vars(caches.Cache)
        ]
    try:
        for owner, attribute, value in places:
            setattr(owner, attribute, _watch(tape, value, opaque.get(attribute)))
        yield
    finally:
        for owner, attribute, value in places:
            setattr(owner, attribute, value)
