"""Gives the dynamic dimensions of an ONNX file their sizes, and asks for those that lack one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelsim.errors import ConfigError, Location, nearest

__all__ = ["bind"]


def bind(proto: Any, dims: Mapping[str, int], file: str) -> None:
    """Give every dynamic dimension of an input its size.

    Parameters
    ----------
    proto : onnx.ModelProto
        Changed in place.
    dims : mapping of str to int
        Name of a dimension, or ``<input>.<dimension>`` where it has none -> its size.
    file : str
        For errors.

    Raises
    ------
    ConfigError
        If a dimension has no size, or a size no dimension.
    """
    weights = {one.name for one in proto.graph.initializer}
    symbols: dict[str, str] = {}
    for given in proto.graph.input:
        if given.name in weights or not given.type.HasField("tensor_type"):
            continue
        if not given.type.tensor_type.HasField("shape"):
            raise ConfigError("has no shape", Location(file), f"input {given.name}")
        for axis, dim in enumerate(given.type.tensor_type.shape.dim):
            if dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0:
                continue
            symbol = dim.dim_param or f"{given.name}.{axis}"
            symbols.setdefault(symbol, f"input `{given.name}`, dimension {axis}")
            if symbol in dims:
                dim.dim_value = dims[symbol]
    unknown = sorted(dims.keys() - symbols.keys())
    if unknown:
        hint = nearest(unknown[0], symbols) or "its inputs have no dynamic dimension"
        raise ConfigError(f"no input has a dimension `{unknown[0]}`", Location(file), "dims", hint)
    left = [symbol for symbol in symbols if symbol not in dims]
    if left:
        asked = " ".join(f"--dim {symbol}=1" for symbol in left)
        raise ConfigError(
            f"{symbols[left[0]]} is dynamic (`{left[0]}`)"
            + (f", and so are {', '.join(f'`{s}`' for s in left[1:])}" if left[1:] else ""),
            Location(file), "dims", f"state the sizes, for example {asked}",
        )  # fmt: skip
