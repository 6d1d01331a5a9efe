"""Functions that the recorder takes whole instead of following them into their loops.

A selective scan written in Python issues hundreds of operations per token; kernels run it as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["OPAQUE", "Opaque"]

Results = Callable[[Mapping[str, Any]], tuple[Any, ...]]
"""All arguments of the function -> empty tensors with the shapes of its results."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """How one function is taken whole.

    Parameters
    ----------
    op : str
        Name of the call that stands for it.
    results : Callable, optional
        Shapes of the results; the function runs unrecorded to find them where absent.
    written : tuple of str
        Arguments that it overwrites.
    """

    op: str
    results: Results | None = None
    written: tuple[str, ...] = ()


def _scanned(given: Mapping[str, Any]) -> tuple[Any, ...]:
    """Results of a selective scan: outputs like its input and, where asked for, the state."""
    import torch

    x, a = given["hidden_states"], given["A"]
    y = torch.empty(x.shape, dtype=x.dtype)
    if not given.get("return_last_state"):
        return (y,)
    state = torch.empty((*x.shape[:-1], a.shape[-1]), dtype=torch.float32)
    return y, state


def _chunk_scanned(given: Mapping[str, Any]) -> tuple[Any, ...]:
    """Results of a chunked scan over heads (batch, tokens, heads, width)."""
    import torch

    x, b = given["hidden_states"], given["B"]
    y = torch.empty(x.shape, dtype=x.dtype)
    if not given.get("return_final_states"):
        return (y,)
    shape = (x.shape[0], x.shape[2], x.shape[3], b.shape[-1])
    return y, torch.empty(shape, dtype=torch.float32)


def _stepped(given: Mapping[str, Any]) -> tuple[Any, ...]:
    """Results of one step of a scan: an output like its input."""
    import torch

    x = given["hidden_states"]
    return (torch.empty(x.shape, dtype=x.dtype),)


OPAQUE: Final[Mapping[str, Opaque]] = {
    "mamba_selective_scan": Opaque("accelsim.selective_scan", _scanned),
    "mamba_selective_state_update": Opaque("accelsim.selective_scan", _stepped, ("state",)),
    "mamba2_chunk_scan": Opaque("accelsim.chunk_scan", _chunk_scanned),
    "mamba2_selective_state_update": Opaque("accelsim.chunk_scan", _stepped, ("state",)),
}
"""Function -> how it is taken whole; in the modelling files of transformers."""
