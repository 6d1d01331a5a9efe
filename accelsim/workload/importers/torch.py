"""Extracts the operator graph of a real PyTorch module, without its weights.

The module runs once on ``meta`` tensors while a recorder listens; what it issued is brought to
operator kinds, and layers that repeat are written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from accelsim.errors import GraphError
from accelsim.workload.graph import Operator, Workload
from accelsim.workload.importers._fold import fold
from accelsim.workload.importers._torch_canonical import nodes_of
from accelsim.workload.importers._torch_compare import Comparison, compare
from accelsim.workload.importers._torch_factory import Run, prepare
from accelsim.workload.importers._torch_fuse import fuse
from accelsim.workload.importers._torch_hf import causal_lm
from accelsim.workload.importers._torch_nodes import Context
from accelsim.workload.importers._torch_operators import Flat, flatten
from accelsim.workload.importers._torch_recording import Recording
from accelsim.workload.legality import validate
from accelsim.workload.tensor import Role, Tensor

__all__ = ["Comparison", "causal_lm", "compare", "from_recording", "from_torch"]


def from_torch(
    target: str | Callable[..., Any],
    *,
    arguments: Mapping[str, Any] | None = None,
    name: str = "",
    map: Mapping[str, str] | None = None,
    ignore: Iterable[str] = (),
    copies: bool = False,
) -> Workload:
    """Return one pass of a PyTorch module as a workload.

    Parameters
    ----------
    target : str or Callable
        ``package.module:function`` or ``file.py:function``, or the function itself.  It is called
        once, under ``torch.device("meta")``, and returns ``(module, kwargs)``,
        ``(module, args)`` or ``(module, args, kwargs)``: the module and the inputs of one pass.
    arguments : mapping, optional
        Keyword arguments of the function.
    name : str
        Name of the workload; that of the module's class where empty.
    map : mapping of str to str, optional
        Operation (``aten.foo``) or Python function (``my_scan``) -> what it costs like: an
        elementwise function, or ``transfer``.  A Python function is then taken whole.
    ignore : iterable of str
        Operations that cost nothing.
    copies : bool
        Whether copies that only change layout or number format are operators of their own and not
        part of a neighbour, as fused kernels have them.

    Returns
    -------
    Workload
        Legal; repeated layers are one block with a count.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    GraphError
        If the pass depends on data, or issues an operation that is not known.
    """
    mapped = dict(map or {})
    recording, run = _record(target, dict(arguments or {}), mapped)
    return from_recording(
        recording, name=name or run.name, map=mapped, ignore=ignore, copies=copies
    )


def _record(
    target: str | Callable[..., Any], arguments: dict[str, Any], mapped: Mapping[str, str]
) -> tuple[Recording, Run]:
    run = prepare(target, arguments)
    from accelsim.workload.importers._torch_opaque import Opaque
    from accelsim.workload.importers._torch_recorder import record

    whole = {name: Opaque(f"function.{name}") for name in mapped if "." not in name}
    return record(run.module, run.args, run.kwargs, whole), run


def from_recording(
    recording: Recording,
    *,
    name: str = "module",
    map: Mapping[str, str] | None = None,
    ignore: Iterable[str] = (),
    copies: bool = False,
) -> Workload:
    """Return the workload of a recording; parameters as for `from_torch`."""
    mapped = {
        key if "." in key else f"function.{key}": value for key, value in (map or {}).items()
    }
    context = Context(recording, copies)
    nodes = fuse(context, nodes_of(context, mapped, frozenset(ignore)))
    flat = flatten(context, nodes)
    outputs = _results(flat, recording)
    if not flat.operators or not outputs:
        raise GraphError(f"`{name}`: its pass computes nothing from its inputs and parameters")
    return validate(_workload(name, flat, outputs))


def _workload(name: str, flat: Flat, outputs: list[str]) -> Workload:
    """Return the workload of a flat graph."""
    recording = flat.context.recording
    layers = _layers(flat.modules, recording.lists)
    built = fold(flat.operators, flat.tensors, flat.inputs, outputs, layers)
    batch, tokens = _sizes(recording)
    held = sum(t.elements for t in flat.tensors.values() if t.role is Role.WEIGHT)
    total = max(held, sum(recording.parameters.values()))
    return Workload(
        name=name,
        blocks=built.blocks,
        parameters=total,
        active_parameters=total - _unrouted(flat, tokens),
        kv_bytes_per_token=_kv_bytes(flat, batch),
        phase=f"forward of {', '.join(_given(recording))}",
        batch=batch,
        tokens=tokens,
        state_bytes_per_sequence=_state_bytes(flat, batch),
        inputs=built.inputs,
        outputs=built.outputs,
        conventions=_conventions(flat),
        idle_parameters=total - held,
    )


def _layers(modules: list[str], lists: frozenset[str]) -> list[str]:
    """Return for each module the child of the outermost list that it belongs to."""
    found = []
    for path in modules:
        parts = path.split(".")
        inside = (".".join(parts[: i + 1]) for i in range(1, len(parts))
                  if ".".join(parts[:i]) in lists)  # fmt: skip
        found.append(next(inside, ""))
    return found


def _results(flat: Flat, recording: Recording) -> list[str]:
    """Return the tensors that the module gave back and an operator made."""
    found = []
    for view in recording.results:
        view = flat.context.resolve(view)
        if view.value not in flat.context.constant:
            found.append(flat.read(view))
    made = {name for operator in flat.operators for name in operator.outputs}
    return [name for name in dict.fromkeys(found) if name in made]


def _sizes(recording: Recording) -> tuple[int, int]:
    """Return sequences or images, and tokens, of the inputs."""
    given = [v for v in recording.values if v.origin == "input" and v.shape]
    if not given:
        return 1, 1
    words = next((v for v in given if v.dtype.startswith("int") and len(v.shape) == 2), None)
    if words:
        return words.shape[0], words.elements
    return given[0].shape[0], given[0].shape[0]


def _given(recording: Recording) -> list[str]:
    return [
        f"{value.name} {'x'.join(map(str, value.shape)) or 'scalar'}"
        for value in recording.values if value.origin == "input"
    ]  # fmt: skip


def _kv_bytes(flat: Flat, batch: int) -> int:
    """Return by how many bytes the KV caches of one sequence grow per token."""
    windows = {
        name
        for operator in flat.operators if operator.kind == "attention"
        for name in operator.inputs[1:3] if operator.attributes.get("window")
    }  # fmt: skip
    caches = [
        t for t in flat.tensors.values() if t.role is Role.KV_CACHE and t.name not in windows
    ]
    return sum(t.size_bytes // (batch * t.shape[-2]) for t in caches if len(t.shape) > 1)


def _state_bytes(flat: Flat, batch: int) -> int:
    return sum(t.size_bytes for t in flat.tensors.values() if t.role is Role.STATE) // batch


def _unrouted(flat: Flat, tokens: int) -> int:
    """Return the elements of routed experts that one token does not use."""
    idle = 0
    for operator in flat.operators:
        experts = operator.dims.get("experts")
        if operator.kind != "matmul" or not experts:
            continue
        weight = _weights(operator, flat.tensors)[0]
        used = max(1, operator.dims["m"] // tokens)
        idle += weight.elements // experts * (experts - min(experts, used))
    return idle


def _weights(operator: Operator, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    return [tensors[n] for n in operator.inputs if tensors[n].role is Role.WEIGHT]


def _conventions(flat: Flat) -> dict[str, str]:
    """Return what was decided on the way."""
    context, recording = flat.context, flat.context.recording
    found = {
        "source": "extracted from PyTorch",
        "attention": "full; masked MACs counted apart; mask arrays not read",
    }
    if context.folded_copies:
        found["copies"] = (
            f"{context.folded_copies} copies that change only layout or format"
            f" ({context.folded_bytes} bytes) are part of a neighbour"
        )
    read = {t.name.partition("[")[0] for t in flat.tensors.values() if t.role is Role.WEIGHT}
    unread = {n: size for n, size in recording.parameters.items() if n not in read}
    if unread:
        names = ", ".join(list(unread)[:5]) + (", ..." if len(unread) > 5 else "")
        found["unread parameters"] = f"{sum(unread.values())} elements: {names}"
    if not recording.whole:
        found["operations"] = "decomposed by this release of torch"
    if any("experts" in operator.dims for operator in flat.operators):
        found["routing"] = "uniform and independent over experts"
    return found
