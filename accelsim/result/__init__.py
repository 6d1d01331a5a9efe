"""Results: figures, operator records, energy, critical path, conservation checks, timelines."""

from accelsim.result.checks import check_conservation
from accelsim.result.critical_path import critical_path
from accelsim.result.generation import GenerationResult, StageResult
from accelsim.result.operators import OperatorRecord
from accelsim.result.result import Result
from accelsim.result.trace import write_trace

__all__ = [
    "GenerationResult",
    "OperatorRecord",
    "Result",
    "StageResult",
    "check_conservation",
    "critical_path",
    "write_trace",
]
