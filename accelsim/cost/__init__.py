"""Cost models: one file per kind of component, each with its class and its Numba equations.

A file names its class in ``COMPONENT``; its file name is the component's ``kind`` in YAML.
"""

from accelsim.cost._component import (
    PICOSECONDS_PER_SECOND,
    Component,
    Dataflow,
    Estimate,
    Link,
    Memory,
    Setting,
    Unit,
    Work,
    to_ps,
)

__all__ = [
    "PICOSECONDS_PER_SECOND",
    "Component",
    "Dataflow",
    "Estimate",
    "Link",
    "Memory",
    "Setting",
    "Unit",
    "Work",
    "to_ps",
]
