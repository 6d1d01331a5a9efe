"""Counts of public model implementations: parameters, FLOPs, KV-cache bytes, one pass per row.

The reference counts matmul-class FLOPs of a whole pass in bfloat16, with logits of every new
token and attention over all query-key pairs, unless the metric says causal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from accelsim.errors import AccelsimError, ConfigError, UnknownNameError
from accelsim.measure.cases._case import Case
from accelsim.workload import (
    Conventions,
    Dtypes,
    SequenceGroup,
    Workload,
    decode,
    flop_split,
    load_model,
    mixed,
    prefill,
    workload,
)

__all__ = ["COLUMNS", "METRICS", "NAME", "predict"]

NAME: Final = "workload counts"
"""What the format is called in reports."""

_FLOPS: Final = "flops_total"
_OPTIMISED: Final = "alt_flops_total"

METRICS: Final[dict[str, Callable[[Workload], int]]] = {
    "params": lambda built: built.parameters,
    "params_active": lambda built: built.active_parameters,
    _FLOPS: lambda built: sum(flop_split(built).values()),
    _OPTIMISED: lambda built: sum(flop_split(built).values()),
    "flops_attn_causal": lambda built: flop_split(built, unmasked=True).get("attention", 0),
    "kv_bytes_per_token": lambda built: built.kv_bytes_per_token,
    "state_bytes_per_seq": lambda built: built.state_bytes_per_sequence,
}
"""Column -> what accelsim says.

Where a row gives `alt_flops_total`, what an optimised implementation does, that is compared and
`flops_total` is not: accelsim's workloads are what optimised implementations do.
"""

COLUMNS: Final = frozenset({"id", "model", "phase", "batch", "q_len", "past_len"} | set(METRICS))
"""Columns that identify the format."""

_BF16: Final = Dtypes(weight="bf16", activation="bf16", kv_cache="bf16")
_ALL: Final = Conventions(logits="all")


def predict(rows: Sequence[dict[str, str]]) -> list[Case]:
    """Return a case for each row and each of `METRICS` that the row has a figure for.

    Parameters
    ----------
    rows : sequence of dict
        Column -> text, at least `COLUMNS`.
    """
    return [case for row in rows for case in _cases(row)]


def _cases(row: dict[str, str]) -> list[Case]:
    built, reason = None, ""
    try:
        built = _built(row["model"], row["phase"], row["batch"], row["q_len"], row["past_len"])
    except AccelsimError as error:
        reason = _reason(error)
    skipped = _FLOPS if row[_OPTIMISED].strip() else _OPTIMISED
    return [
        Case(
            row["id"], name, name, float(int(row[name])),
            None if built is None else float(count(built)), reason,
        )
        for name, count in METRICS.items()
        if name != skipped and row[name].strip()
    ]  # fmt: skip


def _reason(error: AccelsimError) -> str:
    if isinstance(error, UnknownNameError):
        return f"{error.kind} `{error.name}` is not in the library"
    return str(error).splitlines()[0]


@lru_cache(maxsize=256)
def _built(model: str, phase: str, batch: str, q_len: str, past_len: str) -> Workload:
    """Return the row's pass as a workload.

    Raises
    ------
    AccelsimError
        If the library lacks the model, or the pass is of another kind.
    """
    spec = load_model(model)
    if phase not in ("prefill", "decode"):
        raise ConfigError(f"phase `{phase}`; prefill and decode are compared")
    sequences, new, past = int(batch), int(q_len), int(past_len or 0)
    if phase == "prefill":
        given = prefill(sequences, new, past)
    elif new == 1:
        given = decode(sequences, past)
    else:  # several new tokens at once, as speculative decoding verifies them
        given = mixed([SequenceGroup(sequences, new, past)])
    return workload(spec, given, conventions=_ALL, dtypes=_BF16)
