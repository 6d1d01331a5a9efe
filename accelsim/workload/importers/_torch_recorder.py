"""Records one pass of a PyTorch module on ``meta`` tensors: shapes without data, so in no time.

Under inference mode the dispatcher hands over composite operations whole (``linear``,
``scaled_dot_product_attention``, ``layer_norm``), which is what a simulator wants to see.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

from accelsim.errors import GraphError
from accelsim.workload.importers._torch_opaque import OPAQUE, Opaque
from accelsim.workload.importers._torch_recording import Recording, Ref
from accelsim.workload.importers._torch_tape import Tape
from accelsim.workload.importers._torch_watch import hooks, watching

__all__ = ["record"]

_DATA_DEPENDENT: Final = (
    "nonzero", "item", "_local_scalar_dense", "masked_select", "unique", "is_nonzero", "where",
    "bincount", "tolist",
)  # fmt: skip


def _mode(tape: Tape) -> Any:
    """Return the dispatch mode that feeds the tape."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = str(func).rsplit(".", 1)[0]
            try:
                out = func(*args, **(kwargs or {}))
            except GraphError:
                raise
            except Exception as error:
                raise _failure(tape, name, error) from error
            given, named, written = _arguments(func, args, kwargs or {})
            tape.call(name, given, named, _tensors(out), written)
            return out

    return Mode()


def _arguments(func: Any, args: Any, kwargs: Any) -> tuple[list[Any], dict[str, Any], list[Any]]:
    """Return the tensors of a call, all arguments by name, and the tensors written in place."""
    given: list[Any] = []
    named: dict[str, Any] = {}
    written: list[Any] = []
    for place, argument in enumerate(func._schema.arguments):
        if place < len(args):
            value = args[place]
        elif argument.name in kwargs:
            value = kwargs[argument.name]
        else:
            value = argument.default_value if argument.has_default_value() else None
        found = _tensors(value)
        if found:
            refs = tuple(Ref(len(given) + i) for i in range(len(found)))
            given += found
            named[argument.name] = tuple(refs) if isinstance(value, (list, tuple)) else refs[0]
            if argument.alias_info is not None and argument.alias_info.is_write:
                written += found
        else:
            plain = isinstance(value, (bool, int, float, str, type(None)))
            sizes = isinstance(value, (list, tuple))
            named[argument.name] = value if plain else tuple(value) if sizes else str(value)
    return given, named, written


def _failure(tape: Tape, name: str, error: Exception) -> GraphError:
    """Return the error for an operation that cannot run without data, or failed otherwise."""
    frame = tape.frames[tape.module_frame()]
    where = f"module `{frame.path}` ({frame.name}): `{name}`"
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if any(op in name for op in _DATA_DEPENDENT) or "meta" in text:
        return GraphError(
            f"{where} depends on data, which an extraction has none of ({text}); choose an"
            " implementation with static shapes (transformers: use_cache=True, experts as"
            " grouped_mm, no attention mask), or give the function around it a cost with `map`"
        )
    return GraphError(f"{where} failed: {text}")


def record(
    module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], opaque: Mapping[str, Opaque]
) -> Recording:
    """Return the recording of ``module(*args, **kwargs)``, all of it on ``meta``.

    Raises
    ------
    GraphError
        If the pass depends on data, loops over tokens in Python, or fails; names the module.
    """
    import torch

    tape = Tape(module, _named(module, args, kwargs))
    with (
        torch.device("meta"),
        torch.inference_mode(),
        hooks(tape, module),
        watching(tape, module, {**OPAQUE, **opaque}),
        _mode(tape),
    ):
        try:
            out = module(*args, **kwargs)
        except GraphError:
            raise
        except Exception as error:
            raise _failure(tape, "forward", error) from error
    lists = frozenset(
        path
        for path, child in module.named_modules()
        if isinstance(child, (torch.nn.ModuleList, torch.nn.Sequential))
    )
    results = tuple(tape.view(tensor) for tensor in _tensors(_plain(out)))
    return Recording(
        tuple(tape.values), tuple(tape.calls), tuple(tape.frames), results, tape.parameters,
        lists, _whole(),
    )  # fmt: skip


def _whole() -> bool:
    """Return whether a linear layer arrives as one operation, not as its parts."""
    import torch

    probe = torch.nn.Linear(2, 2, device="meta")
    tape = Tape(probe, {})
    with torch.inference_mode(), _mode(tape):
        probe(torch.empty(1, 2, device="meta"))
    return any(call.op == "aten.linear" for call in tape.calls)


def _tensors(tree: Any) -> list[Any]:
    """Return the tensors of nested containers in order."""
    import torch
    from torch.utils._pytree import tree_flatten

    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, torch.Tensor)]


def _named(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors among the inputs by the names that the module gives them."""
    import torch
    from torch.utils._pytree import tree_flatten_with_path

    try:
        given = dict(inspect.signature(module.forward).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        given = {**{f"input_{n}": value for n, value in enumerate(args)}, **kwargs}
    found = {}
    for path, leaf in tree_flatten_with_path(given)[0]:
        if isinstance(leaf, torch.Tensor):
            keys = (getattr(key, "key", getattr(key, "idx", key)) for key in path)
            found[".".join(map(str, keys))] = leaf
    return found


def _plain(out: Any) -> Any:
    """Return a model output without its caches, which are no outputs."""
    if hasattr(out, "items"):
        return {
            name: value
            for name, value in out.items()
            if "past" not in name and "cache" not in name
        }
    return out
