"""Reads YAML into plain data that remembers where each value stood: file, line and column.

Plain scalars follow the YAML 1.2 core schema (``1e9`` is a number, ``no`` is text); duplicate
keys, alias bombs and oversized files are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from accelsim.errors import ConfigError, Location

__all__ = ["Path_", "Quoted", "Tree", "load_tree", "parse_tree"]

Path_ = tuple[str | int, ...]
"""A field's place in a file: keys and list positions from the root."""

MAX_FILE_BYTES: Final = 8 * 2**20
MAX_NODES: Final = 200_000
MAX_DEPTH: Final = 64

_INT: Final = re.compile(r"[-+]?[0-9]+$")
_OCT_HEX: Final = re.compile(r"0o[0-7]+$|0x[0-9a-fA-F]+$")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_INFINITY: Final = re.compile(r"([-+]?)\.(inf|Inf|INF)$")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Quoted(str):
    """A scalar that was quoted in the file: text, never an expression."""

    __slots__ = ()


@dataclass(slots=True)
class Tree:
    """Plain data of one file and the location of each value and key."""

    data: Any
    file: str
    values: dict[Path_, Location] = field(default_factory=dict)
    keys: dict[Path_, Location] = field(default_factory=dict)

    def locate(self, path: Path_, *, key: bool = False) -> Location:
        """Return where `path` stands, or its nearest enclosing field that stands somewhere."""
        for end in range(len(path), -1, -1):
            part = path[:end]
            found = (self.keys.get(part) if key and end == len(path) else None) or self.values.get(
                part
            )
            if found:
                return found
        return Location(self.file)


def scalar(text: str) -> Any:
    """Return a plain scalar's value under the YAML 1.2 core schema.

    Examples
    --------
    >>> [scalar(t) for t in ("1e9", "no", "010", "0x10", "~", "true", "1:30")]
    [1000000000.0, 'no', 10, 16, None, True, '1:30']
    """
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text[0] in "tT"
    if _INT.match(text):
        return int(text)
    if _OCT_HEX.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text)
    infinity = _INFINITY.match(text)
    if infinity:
        return float(infinity[1] + "inf")
    return text


class _Walk:
    """Turns composed nodes into data, recording locations and refusing what is unsafe."""

    def __init__(self, file: str) -> None:
        self.tree = Tree(None, file)
        self.count = 0

    def where(self, node: yaml.Node) -> Location:
        mark = node.start_mark
        return Location(self.tree.file, mark.line + 1, mark.column + 1)

    def value(self, node: yaml.Node, path: Path_) -> Any:
        self.count += 1
        if self.count > MAX_NODES or len(path) > MAX_DEPTH:
            raise ConfigError(
                f"more than {MAX_NODES} values or {MAX_DEPTH} levels after aliases are expanded",
                self.where(node),
            )
        self.tree.values[path] = self.where(node)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        if getattr(node, "style", None) in ("'", '"', "|", ">"):
            return Quoted(node.value)
        return scalar(node.value)

    def mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError("a key must be plain text", self.where(key_node))
            key = str(key_node.value)
            if key == "<<":
                place = self.where(key_node)
                raise ConfigError("YAML merge keys are not supported", place, hint="use extends")
            if key in data:
                first = self.tree.keys[(*path, key)]
                raise ConfigError(
                    f"duplicate key `{key}` (first at line {first.line})", self.where(key_node)
                )
            self.tree.keys[(*path, key)] = self.where(key_node)
            data[key] = self.value(value_node, (*path, key))
        return data


def parse_tree(text: str, file: str = "<text>") -> Tree:
    """Parse YAML text; `file` names it in errors.

    Raises
    ------
    ConfigError
        On a syntax error, a duplicate key, or expansion beyond the limits.
    """
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Location(file, mark.line + 1, mark.column + 1) if mark else Location(file)
        raise ConfigError(f"not valid YAML: {error.problem or error.context}", place) from None
    except (yaml.YAMLError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"not valid YAML: {reason}", Location(file)) from None
    walk = _Walk(file)
    walk.tree.data = {} if node is None else walk.value(node, ())
    return walk.tree


def load_tree(path: Path) -> Tree:
    """Read and parse one YAML file.

    Raises
    ------
    ConfigError
        If the file is missing, unreadable, too large or not valid YAML.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ConfigError(f"{size} bytes; at most {MAX_FILE_BYTES} are read", _file(path))
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text ({error.reason})", _file(path)) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", _file(path)) from None
    return parse_tree(text, str(path))


def _file(path: Path) -> Location:
    return Location(str(path))
