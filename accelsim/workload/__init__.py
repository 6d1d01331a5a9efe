"""Workloads: models as graphs of operators over tensors, with exact counts of work and bytes.

A model name, a phase and number formats give a `Workload`; `totals` and `flop_split` count it.
"""

from accelsim.workload.conventions import Conventions
from accelsim.workload.counts import Counts, flop_split, totals
from accelsim.workload.dtypes import Dtypes
from accelsim.workload.generation import generation
from accelsim.workload.graph import (
    Block,
    Operator,
    Workload,
    resident_bytes,
    to_networkx,
    weight_elements,
)
from accelsim.workload.legality import validate
from accelsim.workload.model import ModelSpec, load_model, model_names, workload
from accelsim.workload.phase import (
    Extent,
    Phase,
    SequenceGroup,
    decode,
    forward,
    mixed,
    prefill,
)
from accelsim.workload.request import Request, phase_of, read_request
from accelsim.workload.stages import Generation, Stage, generation_totals
from accelsim.workload.tensor import (
    DTYPE_BITS,
    Role,
    Sparsity,
    Tensor,
    compute_dtype,
    dtype_bits,
)

__all__ = [
    "DTYPE_BITS",
    "Block",
    "Conventions",
    "Counts",
    "Dtypes",
    "Extent",
    "Generation",
    "ModelSpec",
    "Operator",
    "Phase",
    "Request",
    "Role",
    "SequenceGroup",
    "Sparsity",
    "Stage",
    "Tensor",
    "Workload",
    "compute_dtype",
    "decode",
    "dtype_bits",
    "flop_split",
    "forward",
    "generation",
    "generation_totals",
    "load_model",
    "mixed",
    "model_names",
    "phase_of",
    "prefill",
    "read_request",
    "resident_bytes",
    "to_networkx",
    "totals",
    "validate",
    "weight_elements",
    "workload",
]
