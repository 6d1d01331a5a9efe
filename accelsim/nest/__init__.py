"""Loop nests of Einsum-like operators over a hierarchy of memories: counts, time, energy, search.

Knows nothing of components or graphs: a `Problem`, a `Hierarchy` and a `Nest` in, figures out.
"""

from accelsim.nest.accounting import ACCOUNTINGS, Accounting, accounting
from accelsim.nest.evaluate import Figures, evaluate, evaluate_many
from accelsim.nest.hierarchy import Fanout, Hierarchy, Node, Storage
from accelsim.nest.nest import Loop, Nest, check, parse
from accelsim.nest.problem import Problem, TensorAccess, convolution, matmul

__all__ = [
    "ACCOUNTINGS",
    "Accounting",
    "Fanout",
    "Figures",
    "Hierarchy",
    "Loop",
    "Nest",
    "Node",
    "Problem",
    "Storage",
    "TensorAccess",
    "accounting",
    "check",
    "convolution",
    "evaluate",
    "evaluate_many",
    "matmul",
    "parse",
]
