"""How tokens spread over experts: how many experts a batch reads, and how full the fullest is."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Nonnegative, Spec

__all__ = ["UNIFORM", "Routing", "expected_experts", "fullest_rows", "inclusion"]


class Routing(Spec):
    """Popularity of the experts.

    Examples
    --------
    >>> Routing(kind="zipf", exponent=1.0).popularity(4)
    (1.0, 0.5, 0.3333333333333333, 0.25)
    """

    kind: Literal["uniform", "zipf", "trace"] = "uniform"
    """Equal; by rank to a negative power; or as counted in a trace."""
    exponent: Nonnegative = 1.0
    """Exponent of the Zipf distribution; 0 is uniform."""
    counts: tuple[Nonnegative, ...] = ()
    """Tokens that a trace sent to each expert, in any unit."""

    @model_validator(mode="after")
    def _consistent(self) -> Routing:
        problem = ""
        if (self.kind == "trace") != bool(self.counts):
            problem = "`counts` and kind `trace` go together"
        elif self.counts and not sum(self.counts):
            problem = "the trace's counts are all 0"
        if problem:
            raise PydanticCustomError("routing", "{problem}", {"problem": problem})
        return self

    def popularity(self, experts: int) -> tuple[float, ...]:
        """Return a weight for each expert."""
        if self.kind == "trace":
            return self.counts
        exponent = self.exponent if self.kind == "zipf" else 0.0
        return tuple((rank + 1) ** -exponent for rank in range(experts))

    def __str__(self) -> str:
        if self.kind == "zipf":
            return f"Zipf with exponent {self.exponent:g}"
        return "as in a trace" if self.kind == "trace" else "uniform and independent over experts"


UNIFORM: Final = Routing()
"""All experts alike."""


@lru_cache(maxsize=256)
def inclusion(routing: Routing, experts: int, top_k: int) -> tuple[float, ...]:
    """Return the probability of each expert to be among the `top_k` of a token.

    Notes
    -----
    ``min(1, c w_e)`` with the c that makes them sum to k: proportional to popularity, but no
    expert is chosen twice by one token.

    Examples
    --------
    >>> inclusion(Routing(), 8, 2)[0]
    0.25
    """
    weights = routing.popularity(experts)
    sure: set[int] = set()
    while True:
        rest = sum(w for e, w in enumerate(weights) if e not in sure)
        scale = (top_k - len(sure)) / rest if rest else 0.0
        over = {e for e, w in enumerate(weights) if e not in sure and w * scale > 1}
        if not over:
            return tuple(1.0 if e in sure else w * scale for e, w in enumerate(weights))
        sure |= over


def expected_experts(experts: int, top_k: int, tokens: int, routing: Routing | None = None) -> int:
    """Return how many experts a batch is expected to use, to the nearest whole one.

    Parameters
    ----------
    experts, top_k : int
        Experts to choose from, and different ones chosen per token.
    tokens : int
        Tokens that choose, independently.
    routing : Routing, optional
        Popularity of the experts; equal where absent.

    Notes
    -----
    ``sum over e of 1 - (1 - p_e) ** tokens``: an expert stays idle if no token chooses it.  With
    equal popularity p_e is ``k / E``.

    Examples
    --------
    >>> [expected_experts(8, 2, tokens) for tokens in (1, 4, 64)]
    [2, 5, 8]
    >>> expected_experts(64, 6, 32, Routing(kind="zipf", exponent=1.0))
    48
    """
    if top_k == experts:
        return experts
    if routing is None or routing.kind == "uniform":
        return round(-experts * math.expm1(tokens * math.log1p(-top_k / experts)))
    chances = inclusion(routing, experts, top_k)
    used = sum(1.0 if p >= 1 else -math.expm1(tokens * math.log1p(-p)) for p in chances)
    return max(top_k, round(used))


def fullest_rows(experts: int, top_k: int, tokens: int, routing: Routing) -> int:
    """Return the rows that the most popular expert is expected to get, at least 1."""
    return max(1, round(tokens * max(inclusion(routing, experts, top_k))))
