"""Sorts measured rows into the groups that one kernel model predicts together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.measure.kernels import FORMATS, VECTORS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EAGER", "MODELLED", "groups", "library_of", "usable"]

EAGER: Final = frozenset({"cuda_event_eager", "wallclock_sync"})
"""Clocks that see a launch, or more, besides the kernel."""

MODELLED: Final = frozenset({
    "gemm", "bmm", "conv", "attention_prefill", "attention_decode", "attention_mixed", "moe",
}) | VECTORS  # fmt: skip
"""Operators that the kernel model predicts."""

_BY_LIBRARY: Final = frozenset({"attention_prefill", "attention_decode", "attention_mixed", "moe"})
_UNFIT: Final = frozenset({"cache_resident", "over_peak_bw_5pct"})


def library_of(impl: str) -> str:
    """Return the serving library that an implementation column names; empty where it names none.

    Examples
    --------
    >>> library_of("sglang-0.5.10"), library_of("ampere_sgemm_128x64_tn")
    ('sglang', '')
    """
    name = impl.split("-")[0].lower()
    return name if name in ("sglang", "vllm", "trtllm") else ""


def usable(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return the rows that a fit may see: modelled, of known formats, from the memory itself."""
    known = table["op"].isin(MODELLED) & table["dtype"].isin(FORMATS)
    return (known & ~table["flag"].isin(_UNFIT)).to_numpy()


def groups(table: pd.DataFrame) -> dict[tuple[str, str, str], NDArray[np.int64]]:
    """Return (operator, format, variant) -> numbers of its rows.

    The variant of attention and experts is the library; where a campaign names none, it counts as
    one library of its own, ``own``. That of an elementwise operator is its function. Others have
    none.
    """
    ops, dtypes = table["op"].astype(str).to_numpy(), table["dtype"].astype(str).to_numpy()
    impl = table["impl"].astype(str)
    names = impl.map({text: library_of(text) for text in impl.unique()}).to_numpy()
    libraries = np.where(np.isin(ops, list(_BY_LIBRARY)), np.where(names == "", "own", names), "")
    functions = table["subop"].astype(str).replace("nan", "").to_numpy()
    libraries = np.where(ops == "elementwise", functions, libraries)
    keys, numbers = np.unique(
        np.stack([ops, dtypes, libraries.astype(str)]).astype(str), axis=1, return_inverse=True
    )
    order = np.argsort(numbers, kind="stable")
    cuts = np.flatnonzero(np.diff(numbers[order])) + 1
    found = {}
    for rows in np.split(order, cuts) if len(table) else []:
        op, dtype, variant = keys[:, numbers[rows[0]]]
        found[str(op), str(dtype), str(variant)] = rows
    return found
