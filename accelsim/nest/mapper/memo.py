"""Remembers nests that a search has found, in memory and on disk, by all that they depend on.

A file for each, written whole and then put in place, so that a kill leaves none half-written.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from accelsim.jit import cache_folder
from accelsim.nest.accounting import Accounting
from accelsim.nest.evaluate import evaluate
from accelsim.nest.hierarchy import Hierarchy
from accelsim.nest.mapper.constraint import Constraint
from accelsim.nest.mapper.search import Found, Objective, search
from accelsim.nest.nest import Loop, Nest
from accelsim.nest.problem import Problem

__all__ = ["found_nest"]

_KEPT: Final = 4096
_found: OrderedDict[str, Found] = OrderedDict()


def found_nest(
    problem: Problem,
    hierarchy: Hierarchy,
    objective: Objective,
    rules: Accounting,
    constraints: Mapping[str, Constraint],
    pad: bool,
) -> Found:
    """Return what `accelsim.nest.mapper.search.search` finds, searched once for equal questions.

    Raises
    ------
    MappingError
        As `search` does; a failure is not remembered.
    """
    key = _key(problem, hierarchy, objective, rules, constraints, pad)
    known = _found.get(key)
    if known is not None:
        _found.move_to_end(key)
        return known
    path = _path(key)
    made = _read(path, problem, hierarchy, rules)
    if made is None:
        made = search(problem, hierarchy, objective, rules=rules, constraints=constraints, pad=pad)
        _write(path, made)
    _found[key] = made
    if len(_found) > _KEPT:
        _found.popitem(last=False)
    return made


def _key(*asked: Any) -> str:
    """Return a digest of a question, the same in every process."""
    return hashlib.sha256(json.dumps(_plain(asked), sort_keys=True).encode()).hexdigest()[:32]


def _plain(value: Any) -> Any:
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Hierarchy):
        return [_plain(list(value.nodes)), value.mac_pj, value.mac_rate, value.frequency_hz]
    if hasattr(value, "__dataclass_fields__"):
        named = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"of": type(value).__name__, **named}
    return value if value == value and abs(_number(value)) != float("inf") else repr(value)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _path(key: str) -> Path | None:
    folder = cache_folder("nests")
    return None if folder is None else folder / key[:2] / f"{key}.json"


def _read(
    path: Path | None, problem: Problem, hierarchy: Hierarchy, rules: Accounting
) -> Found | None:
    """Return a remembered nest, evaluated anew; None where there is none that can be read."""
    if path is None:
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        nest = Nest(
            tuple(tuple(Loop(dim, factor) for dim, factor in level) for level in data["loops"]),
            tuple(frozenset(held) for held in data["keeps"]),
        )
        return Found(
            nest, evaluate(problem, hierarchy, nest, rules), data["bound"], data["gap"],
            data["tried"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path | None, found: Found) -> None:
    if path is None:
        return
    data = {
        "loops": [[list(loop) for loop in level] for level in found.nest.loops],
        "keeps": [sorted(held) for held in found.nest.keeps],
        "bound": found.bound, "gap": found.gap, "tried": found.tried,
    }  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8"
        ) as file:
            json.dump(data, file)
        Path(file.name).replace(path)
    except OSError:
        return  # a full or read-only disk costs time, not the answer
