"""One decoder layer of NeuPIMs on one device: operators on the arrays, and stages with the banks.

Composed of the parts' costs: the streams of the memory, the array's schedule, the banks' cycles,
and what the banks take from streams beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Final

from accelsim.arch import load
from accelsim.cost.dram import Dram
from accelsim.cost.systolic import SystolicArray

__all__ = ["OPERATORS", "Operator", "Phase", "Timing", "operators", "run"]

_BYTES: Final = 2  # fp16
# Operators before attention (normalisation, QKV) and after it, as the authors' StageProgram.cc
# has them.  Neither rotation nor the split of heads takes time there.
_BEFORE: Final = ("attn.ln", "attn.QKVgen")
_AFTER: Final = (
    "attn.proj", "attn.res", "ffn.ln", "ffn.fc1", "ffn.gelu", "ffn.fc2", "ffn.res",
)  # fmt: skip
OPERATORS: Final[Mapping[str, tuple[str, ...]]] = {
    "A": _BEFORE, "B": _BEFORE, "C": _AFTER + _BEFORE, "D": _AFTER + _BEFORE,
    "E": _AFTER, "F": _AFTER,
}  # fmt: skip
"""What runs on the arrays and vector units in each stage."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Tokens times a matrix, or so many vectors of the tokens read and written.

    Attributes
    ----------
    k, n : int
        Sides of the weights; k is 0 where there are none.
    vectors : int
        Vectors of n elements per token, read and written, where there are no weights.
    """

    k: int
    n: int
    vectors: int = 0


@dataclass(frozen=True, slots=True)
class Phase:
    """In-memory work beside the operators: its cycles, and the part of traffic's time it takes."""

    cycles: float
    share: float


@dataclass(frozen=True, slots=True)
class Timing:
    """Cycles of each operator, and of the stage: the longer of both sides."""

    operators: Mapping[str, float]
    stage: float


def operators(width: int, parallel: int) -> dict[str, Operator]:
    """Return the operators of a layer of `width` on one of `parallel` devices.

    Products' columns or rows, heads and the feed-forward's width are divided; sums and
    normalisations run on whole vectors.
    """
    part = width // parallel
    return {
        "attn.ln": Operator(0, width, 2),
        "attn.QKVgen": Operator(width, 3 * part),
        "attn.proj": Operator(part, width),
        "attn.res": Operator(0, width, 3),
        "ffn.ln": Operator(0, width, 2),
        "ffn.fc1": Operator(width, 4 * part),
        "ffn.gelu": Operator(0, 4 * part, 2),
        "ffn.fc2": Operator(4 * part, width),
        "ffn.res": Operator(0, width, 3),
    }


def run(
    names: Sequence[str], every: Mapping[str, Operator], tokens: int, phases: Sequence[Phase],
    dram: Dram,
) -> Timing:  # fmt: skip
    """Return the cycles of operators that run one after the other, in-memory work beside them.

    Parameters
    ----------
    names : sequence of str
        Operators in order; none where the in-memory work is alone.
    every : mapping
        Name -> operator.
    tokens : int
    phases : sequence of Phase
        In-memory work from the start of the stage on, one after the other.
    dram : Dram
    """
    found, now = {}, 0.0
    for name in names:
        end = _end(every[name], tokens, now, phases, dram)
        found[name] = end - now
        now = end
    return Timing(found, max(now, sum(phase.cycles for phase in phases)))


def _end(op: Operator, tokens: int, start: float, phases: Sequence[Phase], dram: Dram) -> float:
    """Return when an operator that starts at `start` has ended.

    Notes
    -----
    Activations stay in the arrays and weights stream, all of them while the first 128 tokens are
    in the arrays; further blocks of tokens find them in the scratchpad.  Activations load before,
    and the last block's results are written after its last product.  Vector work is as long as
    its bytes: the simulator's vector units are never the slower side.

    References
    ----------
    casys-kaist/NeuPIMs f299af3, ``src/operations/MatMul.cc``, ``src/NeuPIMSystolicWS.cc``.
    """
    if not op.k:
        return _streamed(op.vectors * tokens * op.n, start, phases, dram)
    array = _array()
    blocks = ceil(tokens / array.columns)
    block = _block_cycles(op, array)
    inputs = op.k * op.n + tokens * op.k + op.n
    loaded = max(_streamed(inputs, start, phases, dram), start + block)
    multiplied = loaded + (blocks - 1) * block
    last = tokens - (blocks - 1) * array.columns
    return _streamed(last * op.n, multiplied, phases, dram)


def _streamed(elements: int, start: float, phases: Sequence[Phase], dram: Dram) -> float:
    """Return when a stream that starts at `start` ends, slower while in-memory work runs."""
    left, now, end = dram.stream_cycles(elements * _BYTES), start, 0.0
    for phase in phases:
        end += phase.cycles
        moved = max(0.0, end - now) * (1.0 - phase.share)
        if moved >= left:
            break
        left -= moved
        now = max(now, end)
    else:
        return now + left
    return now + left / (1.0 - phase.share)


def _block_cycles(op: Operator, array: SystolicArray) -> int:
    """Return the cycles of one block of tokens: each fold is preloaded, then weights stream.

    All arrays of the gang hold the same fold and share the weights' columns.
    """
    share = ceil(array.rows / array.arrays)
    return ceil(op.k / array.rows) * (array.rows + share * (ceil(op.n / array.columns) - 1))


@cache
def _array() -> SystolicArray:
    found = load("neupims").device.units["array"]
    if not isinstance(found, SystolicArray):
        raise TypeError("NeuPIMs' unit `array` is no systolic array")
    return found
