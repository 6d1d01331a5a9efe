"""What torch's errors mean for a measurement: no memory, no kernel, or a mistake of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from accelsim.measure.bench.timing import OutOfMemory, Unsupported

__all__ = ["outcome_of", "torch_outcomes"]

_REFUSALS: Final = (
    "not implemented", "not supported", "unsupported", "no available kernel", "only supported",
    "requires compute capability", "requires device", "not compiled", "expected sm",
    "cublas_status_not_supported",
    "does not support", "not available", "no viable backend", "not currently supported",
    "is only available",
)  # fmt: skip
"""Parts of messages by which torch refuses a case that it has no kernel for."""


def outcome_of(error: BaseException) -> BaseException:
    """Return what an error of torch means: `OutOfMemory`, `Unsupported`, or itself."""
    text = str(error)
    if isinstance(error, torch.cuda.OutOfMemoryError) or "can't allocate memory" in text:
        return OutOfMemory(text.splitlines()[0])
    if isinstance(error, (RuntimeError, NotImplementedError, ValueError)) and any(
        part in text.lower() for part in _REFUSALS
    ):
        return Unsupported(text.splitlines()[0])
    return error


@contextmanager
def torch_outcomes() -> Iterator[None]:
    """Turn torch's refusals into outcomes."""
    try:
        yield
    except Exception as error:
        meant = outcome_of(error)
        if meant is error:
            raise
        raise meant from None
