"""Architectures: from YAML to frozen components, and the totals over them."""

from accelsim.arch.build import area_mm2, load, main_memory, parameters, standing_power_w
from accelsim.arch.spec import ArchitectureSpec, DeviceSpec, component_kinds

__all__ = [
    "ArchitectureSpec",
    "DeviceSpec",
    "area_mm2",
    "component_kinds",
    "load",
    "main_memory",
    "parameters",
    "standing_power_w",
]
