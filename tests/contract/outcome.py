"""Evaluates a point for a contract test: what came of it, a result or a stated reason."""

from __future__ import annotations

from typing import Any

from accelsim.errors import InfeasibleError, MappingError
from accelsim.evaluation import evaluate
from accelsim.result import Result


def outcome(*names: str, **options: Any) -> Result | InfeasibleError | MappingError:
    """Return the checked result of a point, or the refusal that a user would read."""
    try:
        return evaluate(*names, check=True, **options)
    except (InfeasibleError, MappingError) as error:
        return error
