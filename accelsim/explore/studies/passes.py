"""Counts the words that cascades of Einsums move past a rank: passes, rereads, spilled tensors.

A row is one algorithm at one length; ``mapping`` is the way in which it goes through the rank.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator
from pydantic_core import InitErrorDetails

from accelsim.config import Count, Spec
from accelsim.errors import nearest
from accelsim.explore.axes import line_error, refuse
from accelsim.explore.studies import Axes, ModelName, Row, StudySpec, attempt, unknown

__all__ = ["METRICS", "Algorithm", "Study", "axes", "pass_figures", "rows"]

METRICS: Final = (
    "words", "words_per_element", "passes", "held_words", "state_words", "dram_bytes",
)  # fmt: skip
"""Metrics of the rows: words and bytes moved where a fibre of the rank does not fit on chip, words
per element of the study's tensor, traversals of the rank, words per fibre that must stay on chip
so that nothing is read twice, and words of a fibre's sums."""


class Algorithm(Spec):
    """A cascade and how it goes through a rank."""

    model: ModelName
    """Model of the family ``einsum``."""
    rank: str
    """The rank that is traversed."""
    keep: tuple[str, ...] = ()
    """Tensors written in one traversal and read in a later one, instead of being made again."""
    per: str
    """The tensor by whose elements words are divided."""


class Study(StudySpec):
    """Algorithms for one thing, at several lengths."""

    batch: Count = 1
    """Sequences, or vectors."""
    seq_len: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)
    """Tokens of each."""
    algorithms: Annotated[dict[str, Algorithm], Field(min_length=1)]
    """Algorithms by name; it is the row's ``mapping``, its cascade the row's ``model``."""

    @model_validator(mode="after")
    def _cascades_have_them(self) -> Self:
        from accelsim.workload import forward
        from accelsim.workload.cascade import cascade_of

        problems: list[InitErrorDetails] = []
        for name, one in self.algorithms.items():
            cascade = cascade_of(one.model, forward(self.batch, self.seq_len[0]))
            place = ("algorithms", name)
            ranks = (*cascade.partitions, *cascade.sizes)
            for what, given, known in (
                ("rank", one.rank, ranks),
                ("per", one.per, cascade.tensors),
            ):
                if given not in known:
                    text = f"`{one.model}` has no `{given}`; {nearest(given, known)}"
                    problems.append(line_error((*place, what), text, given))
            problems += unknown((*place, "keep"), "tensor", one.keep, cascade.tensors)
        refuse(problems)
        return self


def axes(study: Study) -> Axes:
    """Return axis -> its values, as the rows of the study have them."""
    models = dict.fromkeys(one.model for one in study.algorithms.values())
    return {
        "model": (*models,), "arch": ("any",), "mapping": (*study.algorithms,),
        "phase": ("forward",), "batch": (study.batch,), "seq_len": study.seq_len,
    }  # fmt: skip


def rows(study: Study) -> Iterator[Row]:
    """Yield a row for each algorithm and length."""
    for name, algorithm in study.algorithms.items():
        for seq_len in study.seq_len:
            point: dict[str, Any] = {
                "model": algorithm.model, "arch": "any", "mapping": name, "phase": "forward",
                "batch": study.batch, "seq_len": seq_len,
            }  # fmt: skip
            yield attempt(point, partial(pass_figures, algorithm, study.batch, seq_len))


def pass_figures(algorithm: Algorithm, batch: int, seq_len: int) -> Mapping[str, float | int]:
    """Return what one algorithm moves.

    Raises
    ------
    ConfigError, GraphError
        If there is no such model or rank.
    """
    from accelsim.workload import forward
    from accelsim.workload.cascade import cascade_of
    from accelsim.workload.passes import analyse

    cascade = cascade_of(algorithm.model, forward(batch, seq_len))
    found = analyse(cascade, algorithm.rank, algorithm.keep)
    return {
        "words": found.words, "dram_bytes": found.bytes, "passes": found.count,
        "words_per_element": found.words / cascade.tensors[algorithm.per].elements,
        "held_words": found.held_words, "state_words": found.state_words,
    }  # fmt: skip
