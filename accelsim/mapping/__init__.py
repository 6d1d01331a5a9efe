"""Mapping: policies from YAML, and the plan that places every operator by one."""

from accelsim.mapping.plan import DMA, LINK, Plan, PlannedBlock, Step, plan
from accelsim.mapping.policy import MappingSpec, Partition, Rule, load

__all__ = [
    "DMA",
    "LINK",
    "MappingSpec",
    "Partition",
    "Plan",
    "PlannedBlock",
    "Rule",
    "Step",
    "load",
    "plan",
]
