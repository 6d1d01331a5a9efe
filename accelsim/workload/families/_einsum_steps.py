"""Walks the steps of a configuration of Einsums, those that repeat among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accelsim.errors import ConfigError, GraphError
from accelsim.workload.families._einsum_config import StepConfig
from accelsim.workload.families._einsum_text import Statement, parse

__all__ = ["statements", "steps_of"]


def steps_of(steps: Sequence[StepConfig], path: str) -> Iterator[tuple[str, int, StepConfig]]:
    """Yield the place of each step that is a statement, how often it runs, and the step."""
    for i, step in enumerate(steps):
        place = f"{path}.{i}"
        if step.einsum is None:
            for inner, times, one in steps_of(step.steps, f"{place}.steps"):
                yield inner, times * (step.repeat or 1), one
        else:
            yield place, 1, step


def statements(steps: Sequence[StepConfig], path: str) -> Iterator[tuple[str, int, Statement]]:
    """Yield the place of each statement, how often it runs, and what it says.

    Raises
    ------
    ConfigError
        If a statement is not well formed.
    """
    for place, times, step in steps_of(steps, path):
        try:
            yield place, times, parse(step.einsum or "")
        except GraphError as error:
            raise ConfigError(str(error), path=place) from None
