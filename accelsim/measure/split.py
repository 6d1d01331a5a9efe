"""Decides which measured rows a calibration may be fitted on, and which are kept to test it.

Fits and scores both ask here, so no row is on both sides; a row's side never depends on a random
draw, and rows of one sweep always stay together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLLECTIVES", "FAMILIES", "TRAIN_MODELS", "even_octaves", "families", "split"]

TRAIN_MODELS: Final = (
    "meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-70b-hf", "microsoft/phi-2",
    "meta-llama/Meta-Llama-3-8B",
)  # fmt: skip
"""Models whose layers are fitted where a campaign names its models; the rest tests."""

COLLECTIVES: Final[Mapping[str, str]] = {
    "allreduce": "all_reduce",
    "allgather": "all_gather",
    "reducescatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "send_recv": "transfer",
}
"""Operator of the tables -> pattern of a link."""

FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "gemm": ("n", "k"),
    "bmm": ("b", "m", "n", "k"),
    "conv": ("c_in", "c_out", "kh", "kw", "h_in", "w_in", "stride_h", "stride_w"),
    "attention_prefill": ("heads", "kv_heads", "head_dim"),
    "attention_decode": ("heads", "kv_heads", "head_dim"),
    "attention_mixed": ("heads", "kv_heads", "head_dim"),
    "rope": ("heads", "kv_heads", "head_dim"),
    "moe": ("hidden", "inter", "experts", "topk"),
    "rnn": ("hidden",),
    **dict.fromkeys(COLLECTIVES, ("bytes",)),
}
"""Operator -> the sizes that name its shape family; what is not among them is swept."""

_OTHERS: Final = ("cols",)  # norms, softmax, elementwise: the width; rows are swept
_ATTENTION: Final = "attention"  # prefill and decode of one network are on one side
_TESTED: Final = 3  # every third family tests
_OWN_TEST: Final = "test"  # what a campaign with a split of its own notes beside its test rows
_RULE: Final = (
    "whole shape families: gemm by weight matrix (n, k), attention by (heads, kv_heads, head_dim),"
    " MoE by (hidden, inter, experts, topk), bmm and convolution by their sizes, vector operators"
    " by width; a hash of those sizes, the same on every GPU and number format, picks a third to"
    " test; of collectives the sizes in odd octaves of bytes are tested"
)
_MODELS: Final = f"by model where the campaign names those fitted on ({', '.join(TRAIN_MODELS)})"
_OWN: Final = "families that a campaign itself notes as `test` are tested"


def split(table: pd.DataFrame) -> tuple[NDArray[np.bool_], str]:
    """Return which rows may be fitted on, and a sentence that says how they were chosen.

    Parameters
    ----------
    table : pandas.DataFrame
        Measured operators, with columns ``source``, ``op``, ``notes`` and sizes.

    Returns
    -------
    fitted : ndarray of bool, one per row
        True where a fit may use the row; the others test.
    rule : str
        The rule in words, as a calibration quotes it.

    Notes
    -----
    A row's family is its campaign, operator and the sizes of `FAMILIES`. Where the operator's
    rows of a campaign name `TRAIN_MODELS` and others too, families of those models are fitted and
    all others test; elsewhere a hash of the family decides. Whatever decides, a family is never
    divided: one that a fitted model shares with another is fitted.
    """
    shape = families(table)
    fitted = shape % np.uint64(_TESTED) != 0
    rules = [_RULE]
    group = _numbered(_codes(table, "source")[0], _codes(table, "op")[0])
    family = _numbered(group, shape)
    names, noted = _codes(table, "notes")
    models = [str(note).split(";")[0] for note in noted]
    trained = np.array([name in TRAIN_MODELS for name in models], dtype=bool)[names]
    other = np.array(["/" in name and name not in TRAIN_MODELS for name in models])[names]
    by_model = _any(trained, group) & _any(other, group)
    if by_model.any():
        rules.insert(0, _MODELS)
        fitted = np.where(by_model, _any(trained, family), fitted)
    numbers, ops = _codes(table, "op")
    link = np.isin(np.array(ops), list(COLLECTIVES))[numbers]
    if link.any() and "bytes" in table:
        size = table["bytes"].to_numpy(np.float64, na_value=np.nan)
        fitted = np.where(link, even_octaves(np.where(link, size, 1.0)), fitted)
    tested = np.array([name == _OWN_TEST for name in models], dtype=bool)[names]
    if tested.any():
        rules.append(_OWN)
        fitted &= ~_any(tested, family)
    return fitted, "; ".join(rules)


def even_octaves(size_bytes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which sizes are in even octaves, of which 1 to 2 KiB is one; False for NaN.

    Examples
    --------
    >>> even_octaves(np.array([1024, 2047, 2048])).tolist()
    [True, True, False]
    """
    even: NDArray[np.bool_] = np.floor(np.log2(np.maximum(size_bytes, 1))) % 2 == 0
    return even


def families(table: pd.DataFrame) -> NDArray[np.uint64]:
    """Return a hash per row of its operator and the sizes that name its shape family.

    Rows that differ only in what is swept (tokens, batch, context) have the same; so have equal
    shapes on different GPUs, in different formats and of different campaigns.
    """
    numbers, ops = _codes(table, "op")
    found = np.zeros(len(table), dtype=np.uint64)
    for number, op in enumerate(map(str, ops)):
        rows = np.flatnonzero(numbers == number)
        name = _ATTENTION if op.startswith(_ATTENTION) else op
        value = np.full(rows.size, _seed(name), dtype=np.uint64)
        for column in FAMILIES.get(op, _OTHERS):
            if column in table:
                sizes = table[column].iloc[rows].to_numpy(np.float64, na_value=np.nan)
                value = _mixed(value ^ np.nan_to_num(sizes, nan=-1.0).astype(np.int64).view("u8"))
        found[rows] = value
    return found


def _codes(table: pd.DataFrame, column: str) -> tuple[NDArray[np.int64], list[str]]:
    """Return the number of each row's text, and the texts; a missing one is empty."""
    import pandas as pd

    if column not in table:
        return np.zeros(len(table), dtype=np.int64), [""]
    codes, texts = pd.factorize(table[column])
    # Missing ones have the code -1: the last entry, which is the empty text.
    return codes.astype(np.int64), [*map(str, texts), ""]


def _numbered(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the number of the group that each row is of."""
    number = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        unique, inverse = np.unique(key, return_inverse=True)
        number = np.unique(number * unique.size + inverse, return_inverse=True)[1]
    return number


def _any(mask: NDArray[np.bool_], group: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for every row whether any row of its group is marked."""
    return (np.bincount(group, mask) > 0)[group] if group.size else mask


def _seed(text: str) -> int:
    """Return 64 bits of a name by FNV-1a, the same in every process and version."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed
