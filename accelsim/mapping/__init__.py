"""Mapping: policies from YAML, and the plan that places every operator by one."""

from accelsim.mapping._moves import PATH, path_of, resting
from accelsim.mapping.plan import DMA, LINK, Plan, PlannedBlock, Step, plan
from accelsim.mapping.policy import Kept, MappingSpec, Partition, Rule, load

__all__ = [
    "DMA",
    "LINK",
    "PATH",
    "Kept",
    "MappingSpec",
    "Partition",
    "Plan",
    "PlannedBlock",
    "Rule",
    "Step",
    "load",
    "path_of",
    "plan",
    "resting",
]
