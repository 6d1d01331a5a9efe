"""Parses one Einsum statement: ``O[b, m, n] = A[b, m, k] * W[n, k]``.

An index is a rank, an affine sum of ranks such as ``2 * p + r``, a rank one step on such as
``m + 1``, or one coordinate: a number, or ``end``, the last that was made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from accelsim.errors import GraphError

__all__ = ["END", "Call", "Index", "Reference", "Statement", "parse"]

END: Final = "end"
"""Index of the last coordinate that a running tensor reaches."""

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][\w.]*)|(?P<number>\d+)|(?P<mark>[\[\](),=*+/-]))"
)
_CHAINS: Final = {"*": "*", "+": "+", "-": "sub", "/": "div"}
"""Mark -> the function of the operands that it stands between."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index of a tensor: the sum of ranks, each times a coefficient, and of an offset."""

    terms: tuple[tuple[int, str], ...]
    offset: int = 0
    last: bool = False

    @property
    def rank(self) -> str | None:
        """The rank, where the index is one alone, whatever its offset."""
        return self.terms[0][1] if len(self.terms) == 1 and self.terms[0][0] == 1 else None

    @property
    def fixed(self) -> bool:
        """Whether the index is one coordinate, of no rank."""
        return not self.terms

    def __str__(self) -> str:
        if self.fixed:
            return END if self.last else str(self.offset)
        text = " + ".join(rank if n == 1 else f"{n} * {rank}" for n, rank in self.terms)
        return f"{text} + {self.offset}" if self.offset else text


@dataclass(frozen=True, slots=True)
class Reference:
    """A tensor with its indices."""

    tensor: str
    indices: tuple[Index, ...]

    @property
    def affine(self) -> bool:
        """Whether an index is more than a rank, with or without an offset, or a coordinate."""
        return any(index.rank is None and not index.fixed for index in self.indices)

    @property
    def ranks(self) -> tuple[str, ...]:
        """All ranks of all indices, in order."""
        return tuple(rank for index in self.indices for _, rank in index.terms)

    @property
    def running(self) -> str:
        """The rank along which the tensor is made from one step to the next; empty if none."""
        return next((str(i.rank) for i in self.indices if i.offset and not i.fixed), "")

    def __str__(self) -> str:
        return f"{self.tensor}[{', '.join(map(str, self.indices))}]"


@dataclass(frozen=True, slots=True)
class Call:
    """``*``, ``+``, ``sub``, ``div``, or a function by name, of tensors and other calls."""

    function: str
    arguments: tuple[Reference | Call, ...]

    @property
    def leaves(self) -> tuple[Reference, ...]:
        """All tensors that it reads, in order, as often as they are written."""
        found: list[Reference] = []
        for one in self.arguments:
            found += [one] if isinstance(one, Reference) else one.leaves
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Statement:
    """A tensor and how it is made."""

    made: Reference
    body: Call

    @property
    def function(self) -> str:
        """``*``, ``+``, or the name of the outermost function."""
        return self.body.function

    @property
    def operands(self) -> tuple[Reference, ...]:
        """All tensors that it reads, in order."""
        return self.body.leaves


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
    >>> found = parse("E[m, p] = exp(S[m, p] - R[m + 1, p])")
    >>> found.function, found.body.arguments[0].function, str(found.operands[1])
    ('exp', 'sub', 'R[m + 1, p]')
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

    def _peek(self, ahead: int = 0) -> str:
        return self.tokens[min(self.place + ahead, len(self.tokens) - 1)][1]

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
        steps = [index for index in made.indices if index.offset]
        if made.affine or any(i.fixed for i in made.indices) or len(steps) > 1:
            raise GraphError(
                f"`{self.text}`: an index of the result is a rank alone, or one rank and its step"
            )
        self._take("mark", "=")
        body = self._expression()
        self._take("end", what="the end")
        # A tensor alone is summed over the ranks that the result lacks.
        return Statement(made, Call("sum", (body,)) if isinstance(body, Reference) else body)

    def _expression(self) -> Reference | Call:
        """Return one operand, or several with one mark between them."""
        operands, mark = [self._operand()], ""
        while self._peek() in _CHAINS:
            found = self._take("mark")
            if mark and (found != mark or found in "-/"):
                raise GraphError(f"`{self.text}`: write sums and products as statements apart")
            mark = found
            operands.append(self._operand())
        return Call(_CHAINS[mark], tuple(operands)) if mark else operands[0]

    def _operand(self) -> Reference | Call:
        if self._peek(1) != "(":
            return self._reference(what="a tensor or a function")
        name = self._take("name", what="a function")
        self._take("mark", "(")
        arguments = [self._expression()]
        while self._peek() == ",":
            self._take("mark", ",")
            arguments.append(self._expression())
        self._take("mark", ")")
        return Call(name, tuple(arguments))

    def _reference(self, what: str = "a tensor") -> Reference:
        tensor = self._take("name", what=what)
        self._take("mark", "[")
        indices: list[Index] = []
        while self._peek() != "]":
            indices.append(self._index())
            if self._peek() != "]":
                self._take("mark", ",")
        self._take("mark", "]")
        return Reference(tensor, tuple(indices))

    def _index(self) -> Index:
        if self._peek() == END:
            self._take("name")
            return Index((), last=True)
        terms, offset = [], 0
        while True:
            factor, rank = self._term()
            if rank:
                terms.append((factor, rank))
            else:
                offset += factor
            if self._peek() != "+":
                return Index(tuple(terms), offset)
            self._take("mark", "+")

    def _term(self) -> tuple[int, str]:
        """Return a rank with its factor, or a number and no rank."""
        if self.tokens[self.place][0] != "number":
            return 1, self._take("name", what="a rank")
        factor = int(self._take("number"))
        if self._peek() == "*":
            self._take("mark", "*")
        elif self.tokens[self.place][0] != "name":
            return factor, ""
        return factor, self._take("name", what="a rank")
