"""Counts of public model implementations: parameters, FLOPs by class, cache and state bytes.

The reference counts matmul-class FLOPs of a whole pass in bfloat16, with logits of every new
token and attention over all query-key pairs, unless the metric says causal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from accelsim.errors import AccelsimError, ConfigError, UnknownNameError
from accelsim.measure.cases._case import Case
from accelsim.workload import (
    Conventions,
    Dtypes,
    Extent,
    Phase,
    SequenceGroup,
    Workload,
    decode,
    flop_split,
    forward,
    load_model,
    mixed,
    prefill,
    workload,
)

__all__ = ["COLUMNS", "CONVENTIONS", "METRICS", "NAME", "predict"]

NAME: Final = "workload counts"
"""What the format is called in reports."""

_AS_RUN: Final = Conventions(logits="all", mla="expanded", ssd="per_head", causal_conv="padded")
_OPTIMISED: Final = Conventions(logits="all", mla="auto", ssd="fused", causal_conv="padded")

CONVENTIONS: Final = (
    "1 MAC is 2 FLOPs; logits of every position; attention over all pairs (flops_attn_causal:"
    " unmasked ones); new keys and values are appended, not copied. flops_total and its classes"
    " are compared as the framework computes them (workload.conventions: mla=expanded,"
    " ssd=per_head, causal_conv=padded), alt_flops_total as optimised kernels do (mla=auto,"
    " ssd=fused)."
)
"""What is counted, for the head of reports."""

_CLASSES: Final[Mapping[str, str]] = {
    "flops_lm_head": "lm_head", "flops_experts": "experts", "flops_attn": "attention",
    "flops_conv": "conv", "flops_scan": "scan",
}  # fmt: skip
"""Column -> the operators' label; every other label is `flops_linear`."""


class _Metric(NamedTuple):
    """How one column is predicted: under which conventions, and from what."""

    conventions: Conventions
    count: Callable[[Workload], int]


def _class(label: str) -> _Metric:
    return _Metric(_AS_RUN, lambda built: flop_split(built).get(label, 0))


def _linear(built: Workload) -> int:
    rest = set(_CLASSES.values())
    return sum(flops for label, flops in flop_split(built).items() if label not in rest)


def _total(built: Workload) -> int:
    return sum(flop_split(built).values())


def _unmasked(built: Workload) -> int:
    return flop_split(built, unmasked=True).get("attention", 0)


METRICS: Final[Mapping[str, _Metric]] = {
    "params": _Metric(_AS_RUN, lambda built: built.parameters),
    "params_active": _Metric(_AS_RUN, lambda built: built.active_parameters),
    "flops_total": _Metric(_AS_RUN, _total),
    "alt_flops_total": _Metric(_OPTIMISED, _total),
    "flops_linear": _Metric(_AS_RUN, _linear),
    **{column: _class(label) for column, label in _CLASSES.items()},
    "flops_attn_causal": _Metric(_AS_RUN, _unmasked),
    "kv_bytes_per_token": _Metric(_OPTIMISED, lambda built: built.kv_bytes_per_token),
    "state_bytes_per_seq": _Metric(_OPTIMISED, lambda built: built.state_bytes_per_sequence),
}
"""Column -> how accelsim answers it."""

COLUMNS: Final = frozenset(
    {"id", "model", "phase", "batch", "q_len", "past_len", "params", "flops_total",
     "alt_flops_total", "flops_attn_causal", "kv_bytes_per_token", "state_bytes_per_seq"}
)  # fmt: skip
"""Columns that identify the format."""

_BF16: Final = Dtypes(weight="bf16", activation="bf16", kv_cache="bf16")
_SIZE: Final = re.compile(r"(?:(\d+)f_)?(\d+)x(\d+)(?:_txt(\d+))?")
_SOURCE: Final = re.compile(r"enc(\d+)_(?:dec|past)\d+")


def predict(rows: Sequence[dict[str, str]]) -> list[Case]:
    """Return a case for each row and each of `METRICS` that the row has a figure for.

    Parameters
    ----------
    rows : sequence of dict
        Column -> text, at least `COLUMNS`.
    """
    return [case for row in rows for case in _cases(row)]


def _cases(row: dict[str, str]) -> list[Case]:
    return [
        _case(row, name, metric)
        for name, metric in METRICS.items()
        if row.get(name, "").strip()
    ]  # fmt: skip


def _case(row: dict[str, str], name: str, metric: _Metric) -> Case:
    predicted, reason = None, ""
    try:
        built = _built(row["model"], _phase(row), metric.conventions)
        predicted = float(metric.count(built))
    except AccelsimError as error:
        reason = _reason(error)
    return Case(row["id"], name, name, float(int(row[name])), predicted, reason)


def _reason(error: AccelsimError) -> str:
    if isinstance(error, UnknownNameError):
        return f"{error.kind} `{error.name}` is not in the library"
    return str(error).splitlines()[0]


def _phase(row: dict[str, str]) -> Phase:
    """Return the row's pass.

    Raises
    ------
    ConfigError
        If it is of a kind that is not known.
    """
    kind, shape = row["phase"], row.get("shape", "")
    batch, new, past = (int(row[name] or 0) for name in ("batch", "q_len", "past_len"))
    size, source = _SIZE.fullmatch(shape), _SOURCE.fullmatch(shape)
    context = int(source[1]) if source else None
    if kind == "prefill":
        return prefill(batch, new, past)
    if kind == "decode" and new == 1:
        return decode(batch, past, context_len=context)
    if kind == "decode":  # several new tokens at once, as speculative decoding verifies them
        return mixed([SequenceGroup(batch, new, past)])
    if kind in ("encode", "encdec", "denoise_step", "vae_decode"):
        extent = None
        if size:
            frames, height, width, text = (int(part) if part else None for part in size.groups())
            extent, context = Extent(height or 1, width or 1, frames or 1), text
        return forward(batch, max(1, new), extent=extent, context_len=context)
    raise ConfigError(
        f"phase `{kind}` is not compared; prefill, decode, encode, encdec, denoise_step and"
        " vae_decode are"
    )


@lru_cache(maxsize=256)
def _built(model: str, phase: Phase, conventions: Conventions) -> Workload:
    """Return the pass as a workload."""
    return workload(load_model(model), phase, conventions=conventions, dtypes=_BF16)
