"""Times of measured operators on an architecture of any units: a CPU's cores, an array, a PIM.

GPUs have a kernel model of their own (`predict`); here an operator is one piece of work on the
unit that is fastest at it, its operands read from memory once, as `mapping` would place it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.arch import ArchitectureSpec
from accelsim.cost import Setting, Work
from accelsim.measure.kernels import FORMATS
from accelsim.workload.ops import elementwise, norm, softmax

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["unit_s", "work_of_row"]

_PRODUCTS: Final = frozenset({"gemm", "bmm"})
_READ_TWICE: Final = frozenset({"add", "mul", "div", "silu_mul"})  # functions of two inputs


def work_of_row(row: Any) -> Work | str:
    """Return the work of a measured row, or why it has none.

    Parameters
    ----------
    row : namedtuple
        A row of a table of measured operators, with its columns as attributes.
    """
    if row.dtype not in FORMATS:
        return f"number format {row.dtype} is not known"
    name, width, held = FORMATS[row.dtype]
    if row.op in _PRODUCTS:
        if not np.isfinite(row.m * row.n * row.k):
            return "the row does not tell its sizes"
        batch = int(row.b) if row.b > 1 else 1
        m, n, k = int(row.m), int(row.n), int(row.k)
        stored = int(batch * n * k * held)
        return Work(
            "matmul", dtype=name, batch=batch, m=m, n=n, k=k,
            bits_a=int(8 * width), bits_b=int(8 * held), bits_c=int(8 * width),
            weight_bytes=stored if batch == 1 else 0, kv_bytes=stored if batch > 1 else 0,
            input_bytes=int(batch * m * k * width), output_bytes=int(batch * m * n * width),
            macs=batch * m * n * k,
        )  # fmt: skip
    function = str(row.subop) if row.op == "elementwise" else str(row.op)
    known = {"softmax": softmax.OPS_PER_ELEMENT, **norm.OPS_PER_ELEMENT,
             **elementwise.OPS_PER_ELEMENT}  # fmt: skip
    if function not in known:
        return f"{function} is not compared on units; products, norms, softmax, elementwise are"
    if not np.isfinite(row.rows * row.cols):
        return "the row does not tell its sizes"
    rows, columns = int(row.rows), int(row.cols)
    size = int(rows * columns * width)
    kind = "softmax" if function == "softmax" else "norm"
    return Work(
        kind if function == "softmax" or function in norm.OPS_PER_ELEMENT else "elementwise",
        "" if function == "softmax" else function, dtype=name, m=rows, n=columns,
        bits_a=int(8 * width), bits_b=int(8 * width), bits_c=int(8 * width),
        input_bytes=size * (2 if function in _READ_TWICE else 1), output_bytes=size,
        vector_ops=known[function] * rows * columns,
    )  # fmt: skip


def unit_s(
    table: pd.DataFrame, architecture: ArchitectureSpec
) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Return the time of every row on an architecture's fastest unit, s, and why one has none.

    Parameters
    ----------
    table : pandas.DataFrame
        Measured operators.
    architecture : ArchitectureSpec
        One device of it.

    Notes
    -----
    A unit takes the longer of its own time and of streaming the operands, each once.
    """
    device = architecture.device
    settings = {
        name: Setting(
            memory=device.memories[unit.memory],
            buffer=device.memories[unit.buffer] if unit.buffer else None,
            technology_nm=architecture.technology_nm,
        )
        for name, unit in device.units.items()
    }
    seconds = np.full(len(table), np.nan)
    reasons: NDArray[np.object_] = np.full(len(table), "", dtype=object)
    for i, row in enumerate(table.itertuples(index=False)):
        work = work_of_row(row)
        if isinstance(work, str):
            reasons[i] = work
            continue
        refused, times = [], []
        for name, unit in device.units.items():
            if why := unit.refusal(work):
                refused.append(why)
                continue
            found, memory = unit.estimate(work, settings[name]), settings[name].memory
            moved = (
                found.weight_traffic_bytes + found.input_traffic_bytes + found.output_traffic_bytes
            )
            streamed = 0 if found.includes_memory else memory.stream_ps(moved)
            times.append(found.launch_ps + max(found.compute_ps, streamed))
        if times:
            seconds[i] = min(times) * 1e-12
        else:
            reasons[i] = f"no unit of {architecture.name} runs it: {'; '.join(refused)}"
    return seconds, reasons
