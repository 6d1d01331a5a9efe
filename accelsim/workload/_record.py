"""Reads fields of parsed JSON with the type they must have, naming the field where they have not.

Pydantic would read a graph of some hundred operators several times slower than it takes to build.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from accelsim.errors import nearest

__all__ = ["FieldError", "Record"]

Value = TypeVar("Value")
_MISSING: Final = object()
_ARTICLES: Final[Mapping[type, str]] = {
    str: "text", int: "a whole number", float: "a number", list: "a list", dict: "a mapping",
}  # fmt: skip


class FieldError(Exception):
    """A field that is absent, unknown or of another type than it must be."""

    def __init__(self, path: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.path, self.hint = path, hint


class Record:
    """A JSON object whose fields are taken one by one; what is left over is an error.

    Parameters
    ----------
    data : object
        Parsed JSON.
    path : str
        Where it stands in the file; empty for the root.

    Raises
    ------
    FieldError
        If it is no object.

    Examples
    --------
    >>> Record({"m": 4}, "dims").integer("m")
    4
    >>> Record({"m": "x"}, "dims").integer("m")
    Traceback (most recent call last):
    accelsim.workload._record.FieldError: found text, not a whole number
    """

    def __init__(self, data: Any, path: str) -> None:
        self.path = path
        self._data: dict[str, Any] = _typed(data, dict, path)
        self._taken: set[str] = set()

    def at(self, name: str | int) -> str:
        """Return the dotted path of a field."""
        return f"{self.path}.{name}" if self.path else str(name)

    def take(self, name: str, default: Any = _MISSING) -> Any:
        """Return a field of any type."""
        self._taken.add(name)
        value = self._data.get(name, default)
        if value is _MISSING:
            close = nearest(name, self._data.keys() - self._taken)
            raise FieldError(self.at(name), "is missing", close if "did you" in close else "")
        return value

    def text(self, name: str, default: Any = _MISSING) -> str:
        """Return a text field."""
        value = self.take(name, default)
        return value if type(value) is str else _typed(value, str, self.at(name))

    def integer(self, name: str, default: Any = _MISSING) -> int:
        """Return a whole number."""
        value = self.take(name, default)
        return value if type(value) is int else _typed(value, int, self.at(name))

    def number(self, name: str, default: Any = _MISSING) -> float:
        """Return a number, whole or not, as it was written."""
        value = self.take(name, default)
        return value if type(value) is int else _typed(value, float, self.at(name))

    def texts(self, name: str, default: Any = _MISSING) -> tuple[str, ...]:
        """Return a list of texts."""
        return self._list(name, str, default)

    def integers(self, name: str) -> tuple[int, ...]:
        """Return a list of whole numbers."""
        return self._list(name, int)

    def _list(self, name: str, kind: type[Any], default: Any = _MISSING) -> tuple[Any, ...]:
        values = _typed(self.take(name, default), list, self.at(name))
        for i, value in enumerate(values):
            if type(value) is not kind:
                _typed(value, kind, f"{self.at(name)}[{i}]")
        return tuple(values)

    def mapping(self, name: str, kind: type[Value]) -> dict[str, Value]:
        """Return a mapping of names to values of one type; empty where absent."""
        values: dict[str, Value] = _typed(self.take(name, {}), dict, self.at(name))
        for key, value in values.items():
            if type(value) is not kind:
                _typed(value, kind, f"{self.at(name)}.{key}")
        return values

    def records(self, name: str) -> Iterator[tuple[str, Record]]:
        """Yield key and value of a mapping, or position and item of a list, of objects."""
        values = self.take(name)
        if type(values) is dict:
            for key, value in values.items():
                yield key, Record(value, f"{self.at(name)}.{key}")
            return
        for i, value in enumerate(_typed(values, list, self.at(name))):
            yield str(i), Record(value, f"{self.at(name)}[{i}]")

    def finish(self) -> None:
        """Raise if a field is left that nothing took."""
        if len(self._taken) >= len(self._data) and self._data.keys() <= self._taken:
            return
        unknown = min(self._data.keys() - self._taken)
        raise FieldError(self.at(unknown), "unknown field", nearest(unknown, self._taken))


def _typed(value: Any, kind: type[Any], path: str) -> Any:
    if type(value) is kind:
        return value
    found = _ARTICLES.get(type(value), "true or false" if type(value) is bool else "null")
    raise FieldError(path, f"found {found}, not {_ARTICLES[kind]}")
