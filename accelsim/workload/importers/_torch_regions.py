"""Frames that become one operator: hand-written norms, rotations, activations, scans, caches.

A kernel runs them as one; followed operation by operation they would be eight instead of one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from accelsim.errors import GraphError
from accelsim.workload.importers._torch_aten import (
    CONSTANT,
    COPIES,
    ELEMENTWISE,
    FREE,
    REDUCE,
    base_name,
)
from accelsim.workload.importers._torch_nodes import Context, Node
from accelsim.workload.importers._torch_recording import Call, Frame, Ref, View
from accelsim.workload.importers._torch_rules import attention, elementwise, transfer
from accelsim.workload.tensor import packed_bytes

__all__ = ["Region", "region_of", "scan"]

Region = Callable[[Context, Frame, list[Call], dict[str, View]], list[Node] | None]
"""Context, frame, its calls and the arguments of a function -> nodes; None to follow the calls."""

_NORM: Final = re.compile(r"(?i)norm")
_ACTIVATION: Final = re.compile(r"(?i)gelu|silu|swish|mish|relu|activation")
_ROTARY: Final = re.compile(r"(apply_(rotary|rope|multimodal_rotary)\w*)")
_ROOTS: Final = frozenset({"rsqrt", "sqrt", "pow", "norm", "linalg_vector_norm", "var"})
_SIMPLE: Final = (
    frozenset(ELEMENTWISE) | frozenset(REDUCE) | COPIES | FREE | CONSTANT | {"cat", "stack"}
)


def region_of(frame: Frame, calls: list[Call]) -> Region | None:
    """Return what makes one operator of a frame, None where its calls stay apart."""
    names = {base_name(call.op) for call in calls}
    if frame.function:
        if _ROTARY.fullmatch(frame.name):
            return _rope
        return _FUNCTIONS.get(frame.name)
    if frame.layers or not calls or not names <= _SIMPLE:
        return None
    if _NORM.search(frame.name) and len(calls) > 1 and names & _ROOTS:
        return _norm
    if names & {"sin", "cos"} and not names & frozenset(REDUCE):
        return _waves
    if _ACTIVATION.search(frame.name) and len(calls) > 1 and not names & frozenset(REDUCE):
        return _activation
    return None


def _outside(context: Context, calls: list[Call]) -> list[View]:
    """Return the moving values that calls read and do not make, each once."""
    made = {view.value for call in calls for view in call.outputs}
    found: dict[int, View] = {}
    for call in calls:
        for view in call.inputs:
            if view.value not in made:
                for moving in context.dynamic([view]):
                    if moving.value not in made:
                        old = found.get(moving.value)
                        found[moving.value] = moving if old is None else max(
                            old, moving, key=lambda v: v.elements
                        )  # fmt: skip
    return list(found.values())


def _norm(
    context: Context, frame: Frame, calls: list[Call], _: Mapping[str, View]
) -> list[Node] | None:
    """One norm of a hand-written module; a gate by silu before it becomes an operator."""
    reads = _outside(context, calls)
    weights = [v for v in reads if context.is_weight(v)]
    rows = [v for v in reads if not context.is_weight(v)]
    out = calls[-1].outputs[0]
    names = [base_name(call.op) for call in calls]
    if len(rows) > 2 or not rows or (len(rows) == 2 and "silu" not in names):
        return None
    columns = weights[0].elements if weights else out.shape[-1]
    if any(v.elements != columns for v in weights) or out.size % columns:
        return None
    centred = "sub" in names or "var" in names or "std" in names
    function = "layernorm" if centred else "rmsnorm" if "mean" in names else "l2norm"
    nodes, x = [], rows[0]
    if len(rows) == 2:
        gated = context.new(out.shape, out.dtype)
        nodes.append(elementwise(frame.path, "gate", "silu_mul", rows, gated))
        x = gated
    dims = {"rows": out.size // columns, "columns": columns}
    nodes.append(
        Node(
            "norm", frame.path, "norm", [x, *weights], [out], dims, {"function": function}, "norm"
        )
    )
    return nodes


def _activation(
    context: Context, frame: Frame, calls: list[Call], _: Mapping[str, View]
) -> list[Node] | None:
    """One activation of a module that spells it out."""
    reads = _outside(context, calls)
    names = {base_name(call.op) for call in calls}
    out = calls[-1].outputs[0]
    if len(reads) != 1 or out.size != reads[0].size:
        return None
    if "tanh" in names:
        function = "gelu_tanh"
    elif "erf" in names:
        function = "gelu"
    elif "sigmoid" in names:
        function = "quick_gelu" if "mul" in names and len(calls) > 2 else "silu"
    else:
        return None
    return [elementwise(frame.path, "activation", function, reads, out, source=frame.name)]


def _waves(
    context: Context, frame: Frame, calls: list[Call], _: Mapping[str, View]
) -> list[Node] | None:
    """Sinusoids of a number per sample (a diffusion step): the host makes them, once for all."""
    reads, out = _outside(context, calls), calls[-1].outputs[0]
    if len(reads) != 1 or context.values[reads[0].value].origin != "input":
        return None
    key = (frame.name, reads[0].value, out.shape, out.dtype)
    if key in context.waves:
        context.restate(out, context.waves[key])
        return []
    context.waves[key] = out
    context.constant.add(out.value)
    context.retype(out.value, name=f"{context.values[reads[0].value].name}.waves")
    return []


def _rope(
    context: Context, frame: Frame, calls: list[Call], given: Mapping[str, View]
) -> list[Node] | None:
    """One rotation of everything that a rotary function was given and gave back."""
    del calls
    tables = re.compile(r"cos|sin|freqs|position|mask|rotary")
    reads = [
        context.resolve(view) for name, view in given.items()
        if not tables.search(name) and not context.is_constant(view)
    ]  # fmt: skip
    writes = [view for view in frame.results if not context.is_constant(view)]
    if not reads or len(writes) != len(reads):
        return None
    columns = math.gcd(*(view.size // math.prod(_tokens(view)) for view in writes))
    total = sum(view.size for view in writes)
    rows = math.prod(_tokens(writes[0]))
    columns = total // rows
    node = elementwise(frame.path, "rope", "rope", reads, writes[0])
    node.writes, node.label = writes, "rope"
    node.dims = {"rows": rows, "columns": columns}
    return [node]


def _tokens(view: View) -> tuple[int, ...]:
    """Return the sizes that count tokens of (batch, heads, tokens, width): all but two."""
    shape = view.shape
    return (*shape[:-3], shape[-2]) if len(shape) > 3 else shape[:-1]


def _eager_attention(
    context: Context, frame: Frame, calls: list[Call], given: Mapping[str, View]
) -> list[Node] | None:
    """One attention of a function that writes the scores out."""
    operands = [given.get(name) for name in ("query", "key", "value")]
    products = [call for call in calls if base_name(call.op) in ("matmul", "bmm")]
    if None in operands or not products:
        return None
    query, key, value = (view for view in operands if view is not None)
    mask = given.get("attention_mask")
    causal = bool(frame.facts.get("is_causal")) and (mask is not None or query.shape[-2] == 1)
    out = products[-1].outputs[0]
    node = attention(context, (query, key, value), out, frame, causal)
    sinks = [
        view for view in _outside(context, calls)
        if context.is_weight(view) and view.elements == node.dims["heads"]
    ]  # fmt: skip
    node.reads += sinks
    for result in frame.results[:1]:
        context.restate(result, out)
    return [node]


def _cache_update(
    context: Context, frame: Frame, calls: list[Call], given: Mapping[str, View]
) -> list[Node] | None:
    """The append of new keys and values to their cache."""
    del calls
    new = [context.resolve(given[n]) for n in ("key_states", "value_states") if n in given]
    if len(new) != 2 or len(frame.results) != 2:
        return None
    size = 0
    for view, name in zip(frame.results, ("k_cache", "v_cache"), strict=True):
        context.alias.pop(view.value, None)
        context.constant.discard(view.value)
        context.retype(view.value, origin="cache", name=name, shape=view.shape)
    for name in ("key_states", "value_states"):
        size += packed_bytes(given[name].size, frame.results[0].dtype)
    return [transfer(frame.path, "kv_append", new, list(frame.results), size, "kv_append")]


def _conv_state(
    context: Context, frame: Frame, calls: list[Call], given: Mapping[str, View]
) -> list[Node] | None:
    """The update of the window of a causal convolution; its result is what it was given."""
    new = given.get("conv_states")
    copied = [call for call in calls if base_name(call.op) == "copy"]
    if new is None or not copied:
        return None
    state = copied[-1].outputs[0]
    node = _state_write(context, frame, "conv_state", new, state)
    for result in frame.results:
        if result.value != state.value:
            context.restate(result, new)
    return [node]


def _state_write(context: Context, frame: Frame, name: str, source: View, state: View) -> Node:
    context.alias.pop(state.value, None)
    context.constant.discard(state.value)
    context.retype(state.value, origin="state", name=name, shape=state.shape)
    moved = min(state.size, source.size)
    size = packed_bytes(moved, state.dtype)
    reads = [context.resolve(source)]
    return transfer(frame.path, "conv_update", reads, [state], size, "state")


def _recurrent_state(
    context: Context, frame: Frame, calls: list[Call], given: Mapping[str, View]
) -> list[Node] | None:
    """The scan writes its state itself."""
    del context, frame, calls, given
    return []


def _conv_step(
    context: Context, frame: Frame, calls: list[Call], given: Mapping[str, View]
) -> list[Node] | None:
    """One step of a causal convolution: its window takes the new token, and makes one output."""
    products = [call for call in calls if base_name(call.op) == "conv1d"]
    copied = [call for call in calls if base_name(call.op) == "copy"]
    if len(products) != 1 or not copied or not frame.results:
        return None
    x, state, weight = given["hidden_states"], copied[-1].outputs[0], products[0].inputs[1]
    nodes = [_state_write(context, frame, "conv_state", x, state)]
    batch, channels, width = state.shape
    made = context.new((batch, channels, x.shape[-1]), products[0].outputs[0].dtype)
    dims = {
        "batch": batch, "groups": channels, "in_channels": 1, "out_channels": 1,
        "in_height": 1, "in_width": width, "out_height": 1, "out_width": x.shape[-1],
        "kernel_height": 1, "kernel_width": weight.shape[-1],
    }  # fmt: skip
    reads = [state, *(context.resolve(v) for v in products[0].inputs[1:])]
    nodes.append(Node("conv", frame.path, "conv1d", reads, [made], dims, {"stride": (1,)}, "conv"))
    out = context.resolve(frame.results[0])
    if any(base_name(call.op) == "silu" for call in calls):
        nodes.append(elementwise(frame.path, "activation", "silu", [made], out))
    else:
        context.restate(out, made)
    return nodes


_FUNCTIONS: Final[Mapping[str, Region]] = {
    "eager_attention_forward": _eager_attention,
    "update": _cache_update,
    "update_conv_state": _conv_state,
    "causal_conv1d_update": _conv_step,
    "update_recurrent_state": _recurrent_state,
}


def scan(context: Context, call: Call, frame: Frame) -> list[Node]:
    """Return the operators of a scan taken whole: step size, scan, skip and gate."""
    chunked = call.op == "accelsim.chunk_scan"
    given: dict[str, View] = {
        name: call.inputs[place] for name, place in call.arguments.items()
        if isinstance(place, Ref)
    }  # fmt: skip
    x, b = given["hidden_states"], given["B"]
    nodes: list[Node] = []
    dt = _step_size(context, frame, call, given, nodes)
    sizes = _scan_sizes(x, given["A"], b, chunked)
    state = _scan_state(context, call, sizes)
    dims = dict(zip(("batch", "q_len", "heads", "head_dim", "state_dim", "groups"), sizes,
                    strict=True))  # fmt: skip
    if chunked and dims["q_len"] > 1:
        dims["chunk"] = int(call.arguments["chunk_size"])
    reads = [context.resolve(v) for v in (x, dt, b, given["C"])]
    reads += [context.resolve(given[n]) for n in ("A", "D") if n in given]
    bias = given.get("delta_bias") or given.get("dt_bias")
    if chunked and bias is not None:
        reads.append(context.resolve(bias))
    y, z = call.outputs[0], given.get("z")
    made = context.new(y.shape, y.dtype) if z is not None else y
    attributes: dict[str, Any] = {
        "algorithm": "ssd" if chunked else "selective",
        "resumes": "state" in given or "initial_states" in given,
    }
    unique = list({view.value: view for view in reads}.values())
    nodes.append(
        Node("scan", frame.path, "scan", [*unique, state], [made], dims, attributes, "scan")
    )
    if z is not None:
        nodes.append(elementwise(frame.path, "gate", "silu_mul", [made, context.resolve(z)], y))
        nodes[-1].label = "activation"
    return nodes


def _step_size(
    context: Context, frame: Frame, call: Call, given: Mapping[str, View], nodes: list[Node]
) -> View:
    """Add the softplus of a step size with its bias; return the step size."""
    dt = given["dt"]
    if call.op == "accelsim.chunk_scan":
        return dt
    bias = given.get("delta_bias") or given.get("dt_bias")
    if bias is not None:
        total = context.new(dt.shape, dt.dtype)
        reads = [context.resolve(dt), context.resolve(bias)]
        nodes.append(elementwise(frame.path, "dt_bias", "add", reads, total))
        dt = total
    if call.arguments.get("delta_softplus") or call.arguments.get("dt_softplus"):
        step = context.new(dt.shape, dt.dtype)
        nodes.append(elementwise(frame.path, "softplus", "softplus", [context.resolve(dt)], step))
        dt = step
    return dt


def _scan_sizes(x: View, a: View, b: View, chunked: bool) -> tuple[int, int, int, int, int, int]:
    """Return batch, tokens, heads, width, states and groups."""
    if not chunked:
        tokens = x.shape[2] if len(x.shape) > 2 else 1
        return x.shape[0], tokens, x.shape[1], 1, a.shape[-1], 1
    if len(x.shape) == 4:
        batch, tokens, heads, width = x.shape
        return batch, tokens, heads, width, b.shape[-1], b.shape[2]
    return x.shape[0], 1, x.shape[1], x.shape[2], b.shape[-1], b.shape[1]


def _scan_state(context: Context, call: Call, sizes: tuple[int, ...]) -> View:
    """Return the state that a scan leaves, a new one where the call returns none."""
    batch, _, heads, width, states, _ = sizes
    shape = (batch, heads, width, states)
    if len(call.outputs) > 1:
        view = call.outputs[-1]
        view = replace(view, shape=shape)
    else:
        view = context.new(shape, "fp32")
    if math.prod(shape) != view.elements:
        raise GraphError(f"`{call.op}`: its state holds {view.elements} elements, not {shape}")
    context.constant.discard(view.value)
    context.retype(view.value, origin="state", name="scan_state", shape=shape)
    return view
