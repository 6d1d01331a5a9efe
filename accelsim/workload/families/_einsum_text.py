"""Parses one Einsum statement: ``O[b, m, n] = A[b, m, k] * W[n, k]``.

An index is a rank, or an affine sum of ranks such as ``2 * p + r``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from accelsim.errors import GraphError

__all__ = ["Index", "Reference", "Statement", "parse"]

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][\w.]*)|(?P<number>\d+)|(?P<mark>[\[\](),=*+]))"
)


@dataclass(frozen=True, slots=True)
class Index:
    """An index of a tensor: the sum of ranks, each times a coefficient."""

    terms: tuple[tuple[int, str], ...]

    @property
    def rank(self) -> str | None:
        """The rank, where the index is one alone."""
        return self.terms[0][1] if len(self.terms) == 1 and self.terms[0][0] == 1 else None

    def __str__(self) -> str:
        return " + ".join(rank if n == 1 else f"{n} * {rank}" for n, rank in self.terms)


@dataclass(frozen=True, slots=True)
class Reference:
    """A tensor with its indices."""

    tensor: str
    indices: tuple[Index, ...]

    @property
    def affine(self) -> bool:
        """Whether an index is more than a rank."""
        return any(index.rank is None for index in self.indices)

    @property
    def ranks(self) -> tuple[str, ...]:
        """All ranks of all indices, in order."""
        return tuple(rank for index in self.indices for _, rank in index.terms)

    def __str__(self) -> str:
        return f"{self.tensor}[{', '.join(map(str, self.indices))}]"


@dataclass(frozen=True, slots=True)
class Statement:
    """A tensor and how it is made: ``*``, ``+``, or a function by name, of its operands."""

    made: Reference
    function: str
    operands: tuple[Reference, ...]


def parse(text: str) -> Statement:
    """Return a statement.

    Raises
    ------
    GraphError
        Names what was expected, and where.

    Examples
    --------
    >>> found = parse("O[n, m, p] = I[n, c, 2 * p + r] * W[m, c, r]")
    >>> found.function, [str(operand) for operand in found.operands]
    ('*', ['I[n, c, 2 * p + r]', 'W[m, c, r]'])
    >>> parse("P[h, q, k] = softmax(S[h, q, k])").function
    'softmax'
    """
    return _Parser(text).statement()


class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._split())
        self.place = 0

    def _split(self) -> Iterator[tuple[str, str, int]]:
        place = 0
        while self.text[place:].strip():
            found = _TOKEN.match(self.text, place)
            if found is None:
                where = len(self.text) - len(self.text[place:].lstrip())
                raise GraphError(f"`{self.text}`: `{self.text[where]}` at column {where + 1}")
            kind = str(found.lastgroup)
            yield kind, found[kind], found.start(kind)
            place = found.end()
        yield "end", "the end", len(self.text)

    def _peek(self) -> str:
        return self.tokens[self.place][1]

    def _take(self, kind: str, value: str = "", what: str = "") -> str:
        found, text, column = self.tokens[self.place]
        if found != kind or (value and text != value):
            expected = what or f"`{value}`"
            raise GraphError(
                f"`{self.text}`: {expected} is expected at column {column + 1}, found {text}"
            )
        self.place += 1
        return text

    def statement(self) -> Statement:
        made = self._reference()
        if made.affine:
            raise GraphError(f"`{self.text}`: an index of the result is a rank alone")
        self._take("mark", "=")
        name = self._take("name", what="a tensor or a function")
        if self._peek() == "(":
            statement = Statement(made, name, tuple(self._arguments()))
        else:
            self.place -= 1
            function, operands = self._terms()
            statement = Statement(made, function, operands)
        self._take("end", what="the end")
        return statement

    def _arguments(self) -> Iterator[Reference]:
        self._take("mark", "(")
        yield self._reference()
        while self._peek() == ",":
            self._take("mark", ",")
            yield self._reference()
        self._take("mark", ")")

    def _terms(self) -> tuple[str, tuple[Reference, ...]]:
        operands, function = [self._reference()], ""
        while self._peek() in ("*", "+"):
            mark = self._take("mark")
            if function and mark != function:
                raise GraphError(f"`{self.text}`: write sums and products as statements apart")
            function = mark
            operands.append(self._reference())
        return function or "sum", tuple(operands)

    def _reference(self) -> Reference:
        tensor = self._take("name", what="a tensor")
        self._take("mark", "[")
        indices: list[Index] = []
        while self._peek() != "]":
            indices.append(self._index())
            if self._peek() != "]":
                self._take("mark", ",")
        self._take("mark", "]")
        return Reference(tensor, tuple(indices))

    def _index(self) -> Index:
        terms = [self._term()]
        while self._peek() == "+":
            self._take("mark", "+")
            terms.append(self._term())
        return Index(tuple(terms))

    def _term(self) -> tuple[int, str]:
        factor = 1
        if self.tokens[self.place][0] == "number":
            factor = int(self._take("number"))
            if self._peek() == "*":
                self._take("mark", "*")
        return factor, self._take("name", what="a rank")
