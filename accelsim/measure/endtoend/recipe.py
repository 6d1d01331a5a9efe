"""What a measured row ran, in terms of the library: passes of models on devices of a board.

A recipe is plain data that the mapping of a source makes from a row; `simulate` turns it into
milliseconds.  Workloads are built once per pass and results once per pass and board.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from accelsim import mapping as policies
from accelsim.arch import ArchitectureSpec, main_memory
from accelsim.errors import InfeasibleError
from accelsim.lower import simulate_plan
from accelsim.mapping import LINK
from accelsim.mapping.capacity import memory_need
from accelsim.measure.endtoend.boards import architecture_of
from accelsim.result import Result
from accelsim.workload import (
    Block,
    Dtypes,
    Role,
    Tensor,
    Workload,
    load_model,
    phase_of,
    read_request,
)
from accelsim.workload import workload as build_workload
from accelsim.workload.transforms import Transform
from accelsim.workload.transforms._eager_images import INSIDE
from accelsim.workload.transforms._rewrite import keep_blocks, map_blocks
from accelsim.workload.transforms.training import Training, update_pass

__all__ = ["Pass", "PassTime", "Recipe", "Simulation", "decoding", "simulate", "workload_of"]

_PS_PER_MS: Final = 1e9
_STRETCHES: Final = 4
"""Decoding is simulated at the middle of so many stretches of tokens."""

Pairs = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass of one model.

    Attributes
    ----------
    model, phase, batch, seq_len
        As `accelsim.evaluation.evaluate` takes them.
    times : float
        How often it runs; a part where devices share it, or a pipeline fills.
    dtype, weight : str
        Format of activations, and of weights where it is another.
    changes, request : tuple of (str, value)
        Fields of the model, and of `accelsim.workload.Request`, that are not the default.
    transforms : tuple of Transform
        Applied in this order.
    keep : tuple of (str, int)
        Repetitions of blocks that are not run as often as the model has them.
    tf32 : frozenset of str
        Kinds of operators that multiply FP32 tensors in TF32: on Ampere cuDNN's convolutions by
        default, products and attention where a program asks for it.
    update : bool
        Not the pass but the optimizer's step after it; the last transform is the training.
    """

    model: str
    phase: str
    batch: int
    seq_len: int = 1
    times: float = 1.0
    dtype: str = "fp16"
    weight: str = ""
    changes: Pairs = ()
    request: Pairs = ()
    transforms: tuple[Transform, ...] = ()
    keep: tuple[tuple[str, int], ...] = ()
    tf32: frozenset[str] = frozenset()
    update: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a row ran.

    Attributes
    ----------
    board : str
        As the table names it.
    passes : tuple of Pass
        One after the other.
    launch : str
        A key of `accelsim.measure.endtoend.launch.LAUNCH`.
    tensor : int
        Tensor-parallel devices.
    operators : tuple of str
        Only these operators count, by name within their block; all where empty.
    clocks : tuple of (str, float, float)
        Operator, and what the clock that timed it alone shows: at least the third figure, and
        the kernel with the second before it; in seconds.
    gathered : int
        Devices over which weights are sharded: each pass gathers them, beside computing.
    before : tuple of Pass
        Parts of the passes that had run when the clock started; their time is taken off.
    resident : bool
        All sequences of the batch are in memory at once, so that the passes must fit.
    campaign : str
        Campaign whose scalars the GPU takes where it measured the board: of the same kernels.
    attention : str
        A key of `accelsim.measure.endtoend.launch.ATTENTION`: the fused kernel's generation.
    """

    board: str
    passes: tuple[Pass, ...]
    launch: str
    tensor: int = 1
    operators: tuple[str, ...] = ()
    clocks: tuple[tuple[str, float, float], ...] = ()
    gathered: int = 1
    before: tuple[Pass, ...] = ()
    resident: bool = False
    campaign: str = ""
    attention: str = "flash-2"


@dataclass(frozen=True, slots=True)
class PassTime:
    """Simulated figures of one pass on one device, in milliseconds.

    Attributes
    ----------
    roofline_ms : float
        Every operator's larger of arithmetic at peak and compulsory bytes at datasheet bandwidth.
    host_ms : float
        Time of all launches on the host.
    by_class : mapping of str to float
        Operator class -> time on the device.
    by_name : mapping of str to float
        Operator -> time of one repetition on the device.
    memory_bytes : int
        What the device holds.
    """

    latency_ms: float
    roofline_ms: float
    host_ms: float
    by_class: Mapping[str, float]
    by_name: Mapping[str, float]
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """Simulated figures of a recipe, in milliseconds; see `PassTime`."""

    latency_ms: float
    roofline_ms: float
    host_ms: float
    by_class: Mapping[str, float]


def decoding(first: int, steps: int) -> Iterator[tuple[int, int]]:
    """Yield (cached tokens in the middle, steps) of a few stretches of decoding.

    Parameters
    ----------
    first : int
        Tokens in the cache before the first step.
    steps : int
        Steps; none are yielded for 0.
    """
    done = 0
    while done < steps:
        length = min(steps - done, max(1, -(-steps // _STRETCHES)))
        yield first + done + length // 2, length
        done += length


def simulate(recipe: Recipe) -> Simulation:
    """Return the simulated time of a recipe.

    Raises
    ------
    AccelsimError
        If the model cannot run as the recipe says.
    """
    latency = roofline = host = 0.0
    classes: dict[str, float] = {}
    counted = [(one, one.times) for one in recipe.passes]
    counted += [(one, -one.times) for one in recipe.before]
    for one, times in counted:
        once = replace(one, times=1.0)
        found = _simulate(once, recipe.board, recipe.tensor, recipe.launch, recipe.campaign,
                          recipe.attention)  # fmt: skip
        if recipe.resident:
            _require_room(found, recipe)
        taken, least = found.latency_ms, found.roofline_ms
        if recipe.operators:
            taken = _timed_alone(found, recipe)
            least = 0.0  # a part of the operators has no floor of its own
        if recipe.gathered > 1 and not one.update:
            architecture = architecture_of(recipe.board, recipe.gathered, recipe.launch)
            taken = max(taken, _gather_ms(once, architecture, recipe.gathered))
        latency, roofline = latency + times * taken, roofline + times * least
        host += times * found.host_ms
        for name, spent in found.by_class.items():
            classes[name] = classes.get(name, 0.0) + times * spent
    return Simulation(latency, roofline, host, classes)


def _timed_alone(found: PassTime, recipe: Recipe) -> float:
    """Return the sum of a recipe's operators as its clock shows each, ms."""
    clocks = {name: (launch, least) for name, launch, least in recipe.clocks}
    total = 0.0
    for name in recipe.operators:
        launch, least = clocks.get(name, (0.0, 0.0))
        total += max(least * 1e3, launch * 1e3 + found.by_name[name])
    return total


def _require_room(found: PassTime, recipe: Recipe) -> None:
    """Raise where a pass needs more memory than a device has."""
    memory = main_memory(architecture_of(recipe.board, recipe.tensor, recipe.launch))
    if found.memory_bytes > memory.capacity():
        raise InfeasibleError(
            f"memory of {recipe.board}", found.memory_bytes, memory.capacity(), "bytes",
            "the whole batch at once: a server runs fewer sequences at a time",
        )  # fmt: skip


def _gather_ms(one: Pass, architecture: ArchitectureSpec, devices: int) -> float:
    """Return the time in which sharded weights are gathered twice and gradients scattered."""
    built = workload_of(one)
    weights = {t for b in built.blocks for t in b.tensors.values() if t.role is Role.WEIGHT}
    bits = {t.dtype for t in weights}
    size = built.parameters * (4 if "fp32" in bits else 2)
    if architecture.link is None:
        return 0.0
    gather = architecture.link.collective_ps("all_gather", size, devices)
    scatter = architecture.link.collective_ps("reduce_scatter", size, devices)
    return (2 * gather + scatter) / _PS_PER_MS


@lru_cache(maxsize=4096)
def _simulate(
    one: Pass, board: str, tensor: int, launch: str, campaign: str, attention: str
) -> PassTime:  # fmt: skip
    built = workload_of(one)
    architecture = architecture_of(board, tensor, launch, campaign, attention, _inside(built))
    planned = policies.plan(built, architecture, _policy(tensor))
    # No check of capacity: the row ran, sharded or offloaded as it may have been.
    result = Result({}, simulate_plan(planned), memory_need(planned))
    bandwidth = main_memory(architecture).peak_bandwidth()
    roofline = host = 0.0
    for block in planned.blocks:
        for step in block.steps:
            if step.unit == LINK:
                continue
            work = step.work
            size = work.weight_bytes + work.kv_bytes + work.input_bytes + work.output_bytes
            roofline += block.count * max(step.estimate.ideal_ps / 1e12, size / bandwidth)
            host += block.count * step.estimate.launch_ps / 1e12
    classes: dict[str, float] = {}
    names: dict[str, float] = {}
    for record in result.operators:
        spent = max(record.compute_s, record.memory_s) * 1e3
        names[record.name] = names.get(record.name, 0.0) + spent
        name = _class(record.kind, record.label)
        classes[name] = classes.get(name, 0.0) + record.count * spent
    return PassTime(
        result.latency_s * 1e3, roofline * 1e3, host * 1e3, classes, names,
        result.memory.total_bytes,
    )  # fmt: skip


def _inside(built: Workload) -> float:
    """Return the share of kernels that a library call starts beside its main one."""
    counts = [
        (block.count, bool(operator.attributes.get(INSIDE)))
        for block in built.blocks
        for operator in block.operators
    ]
    return sum(count for count, inside in counts if inside) / sum(count for count, _ in counts)


@lru_cache(maxsize=64)
def _policy(tensor: int) -> policies.MappingSpec:
    return policies.load("roofline-best", {"partition.tensor": tensor})


def _class(kind: str, label: str) -> str:
    """Return the class of an operator in the reports of errors."""
    if kind in ("conv", "collective", "update"):
        return kind
    if kind in ("attention", "attention_gradient"):
        return "attention"
    if kind == "matmul":
        return "batched product" if label == "attention" else "product"
    return "vector"


@lru_cache(maxsize=1024)
def workload_of(one: Pass) -> Workload:
    """Return the workload of a pass, built once.

    Raises
    ------
    ConfigError, GraphError, UnknownNameError
        If the model, the request or a transform is not legal.
    """
    model = load_model(one.model, dict(one.changes))
    request = read_request(dict(one.request))
    phase = phase_of(model, one.phase, one.batch, one.seq_len, request)
    weight = one.weight or one.dtype
    dtypes = Dtypes(weight=weight, activation=one.dtype, kv_cache=one.dtype, embedding=one.dtype)
    built = build_workload(model, phase, conventions=request.conventions, dtypes=dtypes)
    for transform in one.transforms[: -1 if one.update else None]:
        built = transform.apply(built)
    if one.keep:
        built = keep_blocks(built, dict(one.keep))
    if one.tf32:
        built = map_blocks(built, lambda block: _tf32(block, one.tf32))
    if one.update:
        training = one.transforms[-1]
        if not isinstance(training, Training):
            raise TypeError(f"the last transform of an update is a training, not {training}")
        return update_pass(built, training)
    return built


def _tf32(block: Block, kinds: frozenset[str]) -> Block:
    """Return a block whose operators of some kinds read TF32, which is stored as FP32."""
    read = {name for o in block.operators if o.kind in kinds for name in o.inputs}

    def tensor(one: Tensor) -> Tensor:
        return replace(one, dtype="tf32") if one.name in read and one.dtype == "fp32" else one

    return replace(block, tensors={name: tensor(t) for name, t in block.tensors.items()})
