"""Lowering: from a plan to a task graph of flat arrays, and its simulation until steady."""

from accelsim.lower._emit import KIND_NAMES
from accelsim.lower.lower import Lowered, Row, lower, resources_per_stage, row_of
from accelsim.lower.steady import Simulated, simulate_plan

__all__ = [
    "KIND_NAMES",
    "Lowered",
    "Row",
    "Simulated",
    "lower",
    "resources_per_stage",
    "row_of",
    "simulate_plan",
]
