"""Explores a design space: describes it, evaluates its points in parallel and keeps the rows.

`accelsim.explore.pareto` is imported by its own name, for it brings Numba along.
"""

from accelsim.explore.frames import export, to_frame
from accelsim.explore.identity import code_version, point_keys
from accelsim.explore.metrics import METRICS, Metric
from accelsim.explore.outcome import EvaluatePoint
from accelsim.explore.runner import SweepRun, keys, parse_shard, run, store_path
from accelsim.explore.space import Point, boxes, exclusion, points, size
from accelsim.explore.store import Row, Store, merge
from accelsim.explore.sweep import Rule, SweepSpec, load_sweep

__all__ = [
    "METRICS",
    "EvaluatePoint",
    "Metric",
    "Point",
    "Row",
    "Rule",
    "Store",
    "SweepRun",
    "SweepSpec",
    "boxes",
    "code_version",
    "exclusion",
    "export",
    "keys",
    "load_sweep",
    "merge",
    "parse_shard",
    "point_keys",
    "points",
    "run",
    "size",
    "store_path",
    "to_frame",
]
