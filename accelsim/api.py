"""What ``import accelsim`` gives: the verbs and types of everyday use, gathered from their rooms.

The package loads this file when the first of these names is asked for, so that importing accelsim
costs nothing.
"""

from accelsim.arch import ArchitectureSpec
from accelsim.arch import load as load_architecture
from accelsim.errors import (
    AccelsimError,
    ConfigError,
    ConservationError,
    GraphError,
    InfeasibleError,
    MappingError,
    StoreError,
    UnknownNameError,
)
from accelsim.evaluation import evaluate, evaluate_generation, simulate_workload
from accelsim.explore import Store, SweepRun, SweepSpec, load_sweep, store_path, to_frame
from accelsim.explore import run as sweep
from accelsim.explore.pareto import front as pareto_front
from accelsim.mapping import MappingSpec
from accelsim.mapping import load as load_mapping
from accelsim.result import (
    GenerationResult,
    OperatorRecord,
    Result,
    check_conservation,
    write_trace,
)
from accelsim.workload import (
    Conventions,
    Extent,
    Generation,
    ModelSpec,
    Phase,
    SequenceGroup,
    Workload,
    decode,
    forward,
    generation,
    load_model,
    mixed,
    prefill,
)
from accelsim.workload import workload as build_workload
from accelsim.workload.author import Graph
from accelsim.workload.compare import diff
from accelsim.workload.serial import load as load_graph
from accelsim.workload.serial import save as save_graph

__all__ = [
    "AccelsimError",
    "ArchitectureSpec",
    "ConfigError",
    "ConservationError",
    "Conventions",
    "Extent",
    "Generation",
    "GenerationResult",
    "Graph",
    "GraphError",
    "InfeasibleError",
    "MappingError",
    "MappingSpec",
    "ModelSpec",
    "OperatorRecord",
    "Phase",
    "Result",
    "SequenceGroup",
    "Store",
    "StoreError",
    "SweepRun",
    "SweepSpec",
    "UnknownNameError",
    "Workload",
    "build_workload",
    "check_conservation",
    "decode",
    "diff",
    "evaluate",
    "evaluate_generation",
    "forward",
    "generation",
    "load_architecture",
    "load_graph",
    "load_mapping",
    "load_model",
    "load_sweep",
    "mixed",
    "pareto_front",
    "prefill",
    "save_graph",
    "simulate_workload",
    "store_path",
    "sweep",
    "to_frame",
    "write_trace",
]
