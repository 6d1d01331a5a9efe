"""Cost models: one file per kind of component, each with its class and its Numba equations.

A file names its class in ``COMPONENT``; its file name is the component's ``kind`` in YAML.
"""

from accelsim.cost._component import (
    PICOSECONDS_PER_SECOND,
    Component,
    ConvShape,
    Dataflow,
    Estimate,
    Link,
    Memory,
    Setting,
    Unit,
    Work,
    to_ps,
)
from accelsim.cost._nest_policy import LevelPolicy, NestPolicy

__all__ = [
    "PICOSECONDS_PER_SECOND",
    "Component",
    "ConvShape",
    "Dataflow",
    "Estimate",
    "LevelPolicy",
    "Link",
    "Memory",
    "NestPolicy",
    "Setting",
    "Unit",
    "Work",
    "to_ps",
]
