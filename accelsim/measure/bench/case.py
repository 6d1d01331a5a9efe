"""One thing to measure: an operator, block or model with its shape, format and implementation.

A case says nothing about a device or a library, so suites are plain lists that any machine reads.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from accelsim.errors import ConfigError, nearest

__all__ = ["BITS", "DIMS", "EXTRA_DIMS", "TABLE_DIMS", "Case", "case", "shuffled"]

TABLE_DIMS: Final = (
    "m", "n", "k", "b", "rows", "cols", "batch", "heads", "kv_heads", "head_dim", "q_len",
    "kv_len", "n_decode", "kv_decode", "causal", "c_in", "c_out", "kh", "kw", "h_in", "w_in",
    "stride_h", "stride_w", "pad_h", "pad_w", "hidden", "inter", "experts", "topk",
    "active_experts", "tp", "ep", "bytes", "n_devices",
)  # fmt: skip
"""Sizes that the measured tables have, in their order; docs/measuring.md says what they mean."""

EXTRA_DIMS: Final = ("groups", "state", "chunk", "table_rows", "count")
"""Sizes that the measured tables lack: of grouped convolutions, scans, embeddings and blocks."""

DIMS: Final = (*TABLE_DIMS, *EXTRA_DIMS)

BITS: Final[Mapping[str, int]] = {
    "fp64": 64, "fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8,
}  # fmt: skip
"""Number format -> bits of a stored element; tf32 is fp32 in memory."""


@dataclass(frozen=True)
class Case:
    """What is measured.

    Parameters
    ----------
    op : str
        Operator as the measured tables name it: ``gemm``, ``attention_prefill``, ...; ``layer``,
        ``block`` and ``model`` for larger things.
    dtype : str
        Number format of the operands, a key of `BITS`.
    impl : str
        How it is computed, as the table names it: ``torch.mm``, ``sdpa.flash``, ...
    dims : tuple of (str, int)
        Sizes by name, in the order of `DIMS`.
    subop : str
        Finer kind: ``add``, ``linear_bias``, ``llama3-8b``, ...
    notes : str
        Where the shape comes from; no part of the identity.
    """

    op: str
    dtype: str
    impl: str
    dims: tuple[tuple[str, int], ...]
    subop: str = ""
    notes: str = ""

    def size(self, name: str, default: int | None = None) -> int:
        """Return a size by name.

        Raises
        ------
        ConfigError
            If the case lacks it and there is no default.
        """
        value = dict(self.dims).get(name, default)
        if value is None:
            raise ConfigError(f"case `{self.op}` has no size `{name}`")
        return value

    def sizes(self, *names: str) -> tuple[int, ...]:
        """Return several sizes."""
        return tuple(self.size(name) for name in names)

    def changed(self, **sizes: int) -> Case:
        """Return the case with other sizes, those that it has."""
        known = {name: sizes.get(name, value) for name, value in self.dims}
        return case(self.op, self.dtype, self.impl, subop=self.subop, notes=self.notes, **known)

    def computed(self, *, impl: str, dtype: str) -> Case:
        """Return the case in another implementation and format."""
        return Case(self.op, dtype, impl, self.dims, self.subop, self.notes)

    @property
    def label(self) -> str:
        """Short text for progress and messages."""
        sizes = " ".join(f"{name}={value}" for name, value in self.dims)
        return " ".join(filter(None, (self.op, self.subop, self.dtype, self.impl, sizes)))


def case(
    op: str, dtype: str, impl: str, *, subop: str = "", notes: str = "", **sizes: Any
) -> Case:
    """Return a case with its sizes in the order of the table.

    Raises
    ------
    ConfigError
        If a size or format is unknown, or a size is not a whole number.

    Examples
    --------
    >>> case("gemm", "bf16", "torch.mm", n=8, m=4, k=2).dims
    (('m', 4), ('n', 8), ('k', 2))
    """
    if dtype not in BITS:
        raise ConfigError(f"unknown number format `{dtype}`", hint=nearest(dtype, BITS))
    for name, value in sizes.items():
        if name not in DIMS:
            raise ConfigError(f"unknown size `{name}`", hint=nearest(name, DIMS))
        if int(value) != value or value < 0:
            raise ConfigError(f"size `{name}` of `{op}` is {value!r}, no whole number")
    dims = tuple((name, int(sizes[name])) for name in DIMS if name in sizes)
    return Case(op, dtype, impl, dims, subop, notes)


def shuffled(cases: Iterable[Case]) -> list[Case]:
    """Return the cases without repeats, in an order that is fixed but fair.

    Sorted by a checksum, so that whatever part a time limit allows is a sample of the whole, and
    every run and machine has the same order.
    """
    unique = {(c.op, c.subop, c.dtype, c.impl, c.dims): c for c in cases}
    return sorted(unique.values(), key=lambda c: (zlib.crc32(c.label.encode()), c.label))
