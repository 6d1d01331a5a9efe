"""The one place that touches Numba: compiled kernels with a cache that notices every edit.

A Numba cache entry does not notice that a kernel it calls, in another file, has changed, and
silently answers with the old code.  So the cache folder is named by a hash of all kernel sources.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import prange

__all__ = ["cache_folder", "inlined_kernel", "kernel", "parallel_kernel", "prange", "source_hash"]

Function = TypeVar("Function", bound=Callable[..., Any])


def source_hash() -> str:
    """Return a digest of every source file of the package that uses this module.

    Examples
    --------
    >>> len(source_hash())
    16
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        source = path.read_bytes()
        if b"accelsim.jit" in source or path == Path(__file__):
            digest.update(path.name.encode() + source)
    return digest.hexdigest()[:16]


def _cache_root() -> Path:
    given = os.environ.get("ACCELSIM_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "accelsim"


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def cache_folder(name: str) -> Path | None:
    """Return a folder for what this version has computed; None where none can be written.

    Parameters
    ----------
    name : str
        What is kept there; results of other versions of the kernels are elsewhere.
    """
    folder = _cache_root() / f"{name}-{_HASH}"
    return folder if _writable(folder) else None


def _use_cache() -> bool:
    """Point Numba at this version's cache folder; without a writable one, compile in memory."""
    folder = _cache_root() / f"kernels-{_HASH}"
    if not _writable(folder):
        return False
    numba.config.CACHE_DIR = str(folder)
    return True


_HASH = source_hash()
_CACHED = _use_cache()


def kernel(function: Function) -> Function:
    """Compile `function` on first use (no Python objects inside), cached on disk."""
    return cast(Function, numba.njit(cache=_CACHED)(function))


def inlined_kernel(function: Function) -> Function:
    """Compile `function` into each kernel that calls it.

    Worth it where it is small and takes tuples of many arrays, which a call would copy.
    """
    return cast(Function, numba.njit(cache=_CACHED, inline="always")(function))


def parallel_kernel(function: Function) -> Function:
    """Compile `function` as `kernel` does, its ``prange`` loops over all threads."""
    return cast(Function, numba.njit(cache=_CACHED, parallel=True)(function))
