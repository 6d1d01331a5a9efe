"""Imports topology files of SCALE-Sim: a convolution or a matrix product per line.

A line says nothing of what feeds it, so every layer has an input of its own.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Final

from accelsim.errors import ConfigError, Location
from accelsim.workload.author import Graph
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.graph import Workload
from accelsim.workload.phase import forward
from accelsim.workload.tensor import Sparsity

__all__ = ["from_scalesim"]

_CONV: Final = (
    "ifmap height", "ifmap width", "filter height", "filter width", "channels", "num filter",
    "strides",
)  # fmt: skip
_PRODUCT: Final = ("m", "n", "k")
_BF16: Final = Dtypes()


def from_scalesim(path: str | Path, *, dtypes: Dtypes = _BF16) -> Workload:
    """Return the layers of a SCALE-Sim topology as a workload.

    Parameters
    ----------
    path : str or Path
        A CSV file whose head names ``IFMAP Height, ..., Strides`` or ``M, N, K``, and perhaps
        ``Sparsity`` as N:M of the weights.
    dtypes : Dtypes
        Number formats, of which the file says nothing.

    Raises
    ------
    ConfigError
        If the file is no topology; names the line and the column.

    Notes
    -----
    The input has its padding, and an output side is ceil((input - filter + stride) / stride).

    References
    ----------
    .. [1] SCALE-Sim, documentation, "Topology files".
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", Location(str(file))) from None
    graph = Graph(file.stem, forward(1), dtypes)
    for place, name, row in _rows(text, str(file)):
        with graph.scope(re.sub(r"\W+", "_", name)):
            if "m" in row:
                _product(graph, row, place)
            else:
                _conv(graph, row, place)
    built = graph.build(fold=False)
    return replace(built, conventions={"dependencies": "none: the file states no data flow"})


def _rows(text: str, file: str) -> Iterator[tuple[Location, str, dict[str, str]]]:
    """Yield place, layer name, and column -> cell, of each layer."""
    lines = csv.reader(StringIO(text))
    head = [cell.strip().lower() for cell in next(lines, [])]
    columns = head[1:]
    expected = next((one for one in (_CONV, _PRODUCT) if set(one) <= set(columns)), None)
    if expected is None:
        raise ConfigError(
            "is no SCALE-Sim topology", Location(file, 1),
            hint=f"its head names {', '.join(_CONV)}, or {', '.join(_PRODUCT)}",
        )  # fmt: skip
    found = False
    for cells in lines:
        given = [cell.strip() for cell in cells]
        place = Location(file, lines.line_num)
        if not any(given) or not any(given[1:]):
            continue  # an empty line, or the name of a network above its layers
        row = dict(zip(columns, given[1:], strict=False))
        missing = [name for name in expected if not row.get(name)]
        if missing:
            raise ConfigError(f"layer `{given[0]}` has no `{missing[0]}`", place)
        found = True
        yield place, given[0], row
    if not found:
        raise ConfigError("holds no layer", Location(file))


def _number(row: Mapping[str, str], name: str, place: Location) -> int:
    if not row[name].isdigit() or int(row[name]) < 1:
        raise ConfigError(f"found `{row[name]}`, not a whole number", place, name)
    return int(row[name])


def _sparsity(row: Mapping[str, str], place: Location) -> Sparsity | None:
    text = row.get("sparsity") or "1:1"
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if found is None or not 0 < int(found[1]) <= int(found[2]):
        raise ConfigError(f"found `{text}`, not N:M", place, "sparsity")
    kept, of = int(found[1]), int(found[2])
    return None if kept == of else Sparsity(kept / of, text)


def _conv(graph: Graph, row: Mapping[str, str], place: Location) -> None:
    height, width, tall, wide, channels, filters, stride = (
        _number(row, name, place) for name in _CONV
    )
    if tall > height or wide > width:
        raise ConfigError(f"a filter of {tall}x{wide} exceeds {height}x{width}", place)
    x = graph.input("input", (1, channels, height, width))
    shape = (filters, channels, tall, wide)
    weight = graph.weight("weight", shape, sparsity=_sparsity(row, place))
    size = (-(-(height - tall + stride) // stride), -(-(width - wide + stride) // stride))
    graph.output(
        graph.conv(x, filters, (tall, wide), stride=stride, size=size, bias=False, weight=weight)
    )


def _product(graph: Graph, row: Mapping[str, str], place: Location) -> None:
    m, n, k = (_number(row, name, place) for name in _PRODUCT)
    x = graph.input("input", (m, k))
    weight = graph.weight("weight", (n, k), sparsity=_sparsity(row, place))
    graph.output(graph.linear(x, n, weight=weight))
