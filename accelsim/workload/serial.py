"""Saves a workload as JSON and reads it back exactly: dims, formats, sparsity, attributes, notes.

One operator or tensor stands on one line, so that saved graphs can be compared by any text tool.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, NoReturn

from accelsim.errors import ConfigError, GraphError, Location, UnknownNameError, nearest
from accelsim.workload._record import FieldError, Record
from accelsim.workload.frozen import EMPTY, FrozenMap
from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.legality import validate
from accelsim.workload.tensor import Role, Sparsity, Tensor

__all__ = ["SCHEMA", "from_json", "is_graph", "load", "save", "to_json"]

SCHEMA: Final = "accelsim-workload/1"
"""Name and version of the file format; the version changes when an old reader would err."""

_ROLES: Final = {role.value: role for role in Role}


def save(workload: Workload, path: str | Path) -> Path:
    """Write a workload to a file, whole or not at all; return its path.

    Parameters
    ----------
    workload : Workload
        Any.
    path : str or Path
        Where to; folders are made.

    Raises
    ------
    GraphError
        If an attribute is of a type that the format does not have.
    ConfigError
        If the file cannot be written.
    """
    path = Path(path)
    text = to_json(workload)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise ConfigError(f"cannot be written: {error.strerror}", Location(str(path))) from None
    return path


def load(path: str | Path) -> Workload:
    """Read a workload that `save` wrote.

    Raises
    ------
    ConfigError
        If the file is missing, damaged, of another format, or describes no legal workload; names
        the file and the field.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text ({error.reason})", Location(str(path))) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", Location(str(path))) from None
    return from_json(text, str(path))


def is_graph(path: str | Path) -> bool:
    """Return whether a path names a saved workload, by the first line of the file.

    Examples
    --------
    >>> is_graph("llama3-8b")
    False
    """
    path = Path(path)
    if path.suffix != ".json":
        return False
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return "accelsim-workload/" in file.read(200)
    except OSError:
        return False


def to_json(workload: Workload) -> str:
    """Return a workload as JSON text.

    Examples
    --------
    >>> from accelsim.workload import decode, workload
    >>> llama = workload("llama3-8b", decode(1, 1023))
    >>> from_json(to_json(llama)) == llama
    True
    """
    head: dict[str, Any] = {"schema": SCHEMA}
    head |= {
        f.name: getattr(workload, f.name) for f in fields(workload) if f.name != "blocks"
    }  # fmt: skip
    lines = [f"  {_text(key)}: {_text(_plain(value, key))}," for key, value in head.items()]
    blocks = ",\n".join("\n".join(_block_lines(block)) for block in workload.blocks)
    return "\n".join(["{", *lines, '  "blocks": [', blocks, "  ]", "}", ""])


def _block_lines(block: Block) -> Iterator[str]:
    yield f'    {{"name": {_text(block.name)}, "count": {block.count},'
    yield f'      "carry": {_text(dict(block.carry))}, "shared": {_text(sorted(block.shared))},'
    if block.recalls:
        yield f'      "recalls": {_text(block.recalls)},'
    yield '      "tensors": {'
    yield from _joined(f"{_text(n)}: {_text(_tensor(t))}" for n, t in block.tensors.items())
    yield "      },"
    yield '      "operators": ['
    yield from _joined(_text(_operator(operator)) for operator in block.operators)
    yield "      ]}"


def _joined(items: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a list, a comma after each but the last."""
    held = ""
    for item in items:
        if held:
            yield f"        {held},"
        held = item
    if held:
        yield f"        {held}"


def _tensor(tensor: Tensor) -> dict[str, Any]:
    data: dict[str, Any] = {
        "shape": tensor.shape, "dtype": tensor.dtype, "role": tensor.role.value
    }  # fmt: skip
    if tensor.sparsity is not None:
        data["sparsity"] = {f.name: getattr(tensor.sparsity, f.name) for f in fields(Sparsity)}
    return data


def _operator(operator: Operator) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": operator.name, "kind": operator.kind, "label": operator.label,
        "dims": dict(operator.dims), "inputs": operator.inputs, "outputs": operator.outputs,
    }  # fmt: skip
    if operator.shard is not None:
        data["shard"] = operator.shard
    if operator.attributes:
        data["attributes"] = _plain(operator.attributes, operator.name)
    return data


def _text(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def _plain(value: Any, where: str) -> Any:
    """Return a value as JSON has it; tuples become lists, which the reader turns back."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item, where) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item, where) for item in value]
    raise GraphError(f"`{where}`: {type(value).__name__} {value!r} cannot be saved")


def from_json(text: str, file: str = "<text>") -> Workload:
    """Return the workload that JSON text describes; `file` names it in errors.

    Raises
    ------
    ConfigError
        If the text is no legal workload; names the line of a syntax error, else the field.
    """
    place = Location(file)
    try:
        data = json.loads(text, object_pairs_hook=_once, parse_constant=_not_finite)
        return validate(_workload(Record(data, "")))
    except json.JSONDecodeError as error:
        place = Location(file, error.lineno, error.colno)
        raise ConfigError(f"not valid JSON: {error.msg}", place) from None
    except FieldError as error:
        raise ConfigError(str(error), place, error.path, error.hint) from None
    except (GraphError, UnknownNameError, RecursionError) as error:
        raise ConfigError(f"describes no legal workload: {error}", place) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FieldError(twice, "stands twice in one object")
    return data


def _not_finite(text: str) -> NoReturn:
    raise FieldError("", f"{text} is not a number that a workload can have")


def _workload(record: Record) -> Workload:
    schema = record.text("schema")
    if schema != SCHEMA:
        raise FieldError("schema", f"found `{schema}`, this version reads `{SCHEMA}`")
    workload = Workload(
        name=record.text("name"),
        blocks=tuple(_read_block(block) for _, block in record.records("blocks")),
        parameters=record.integer("parameters"),
        active_parameters=record.integer("active_parameters"),
        kv_bytes_per_token=record.integer("kv_bytes_per_token"),
        phase=record.text("phase"),
        batch=record.integer("batch"),
        tokens=record.integer("tokens"),
        state_bytes_per_sequence=record.integer("state_bytes_per_sequence", 0),
        inputs=record.texts("inputs"),
        outputs=record.texts("outputs"),
        conventions=record.mapping("conventions", str),
        idle_parameters=record.integer("idle_parameters", 0),
    )
    record.finish()
    return workload


def _read_block(record: Record) -> Block:
    tensors = {name: _read_tensor(name, found) for name, found in record.records("tensors")}
    operators = tuple(_read_operator(found) for _, found in record.records("operators"))
    try:
        block = Block(
            record.text("name"),
            record.integer("count"),
            operators,
            tensors,
            record.mapping("carry", str),
            frozenset(record.texts("shared")),
            record.texts("recalls", []),
        )
    except GraphError as error:
        raise FieldError(record.at("count"), str(error)) from None
    record.finish()
    return block


def _read_tensor(name: str, record: Record) -> Tensor:
    role = record.text("role")
    if role not in _ROLES:
        raise FieldError(record.at("role"), f"found `{role}`", nearest(role, _ROLES))
    found = record.take("sparsity", None)
    try:
        sparsity = None if found is None else _read_sparsity(Record(found, record.at("sparsity")))
        tensor = Tensor(
            name, record.integers("shape"), record.text("dtype"), _ROLES[role], sparsity
        )
    except (GraphError, UnknownNameError) as error:
        raise FieldError(record.path, str(error)) from None
    record.finish()
    return tensor


def _read_sparsity(record: Record) -> Sparsity:
    sparsity = Sparsity(
        record.number("density"), record.text("pattern"), record.number("metadata_bits")
    )
    record.finish()
    return sparsity


def _read_operator(record: Record) -> Operator:
    attributes = record.take("attributes", None)
    operator = Operator(
        record.text("name"),
        record.text("kind"),
        record.mapping("dims", int),
        record.texts("inputs"),
        record.texts("outputs"),
        record.text("label", ""),
        None if record.take("shard", None) is None else record.text("shard"),
        EMPTY if attributes is None else _frozen(attributes),
    )
    record.finish()
    return operator


def _frozen(value: Any) -> Any:
    """Return parsed JSON as attributes have it: lists as tuples, objects as frozen maps."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return FrozenMap({key: _frozen(item) for key, item in value.items()})
    return value
