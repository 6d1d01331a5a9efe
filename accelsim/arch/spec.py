"""What an architecture file may say: a device of units and memories, how many, and their links.

The legal component kinds are whatever the cost room registers, so a new unit kind needs no edit
here.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from accelsim import registry
from accelsim.config import Count, Nanometres, Spec, SquareMillimetres, Watts
from accelsim.cost import Component
from accelsim.cost._die_cost import DieSpec
from accelsim.errors import nearest

__all__ = ["ArchitectureSpec", "DeviceSpec", "component_kinds"]


def component_kinds(role: str) -> dict[str, type[Component]]:
    """Return kind -> class of every registered component that plays `role`.

    Parameters
    ----------
    role : {"unit", "memory", "link"}
    """
    found: dict[str, type[Component]] = {}
    for name in registry.names("cost"):
        component: type[Component] = registry.module("cost", name).COMPONENT
        if component.role == role:
            found[component.model_fields["kind"].default] = component
    return found


def _union(role: str) -> Any:
    classes = list(component_kinds(role).values())
    if len(classes) == 1:
        return classes[0]
    return Annotated[reduce(or_, classes), Field(discriminator="kind")]


if TYPE_CHECKING:
    from accelsim.cost import Link as AnyLink
    from accelsim.cost import Memory as AnyMemory
    from accelsim.cost import Unit as AnyUnit
else:
    AnyUnit, AnyMemory, AnyLink = _union("unit"), _union("memory"), _union("link")


class DeviceSpec(Spec):
    """One device: its units, its memories, and what the models of both leave out."""

    units: dict[str, AnyUnit]
    """Compute units by name; the name is the resource in timelines."""
    memories: dict[str, AnyMemory]
    """Memories by name."""
    main_memory: str = ""
    """Memory that holds weights and KV cache; the only one that units stream from if absent."""
    paths: dict[str, AnyLink] = Field(default_factory=dict)
    """Memory -> what joins it and the main memory; what is kept there moves over it, and so do
    inputs and outputs of the units that stream from it."""
    given_area_mm2: SquareMillimetres | None = None
    """Published die area; replaces the sum over components."""
    idle_power_w: Watts = 0.0
    """Published idle power of the device; added to the components' leakage."""
    die: DieSpec | None = None
    """How the die is made; where given, `accelsim show` says what a good one costs."""
    source: str | dict[str, str] = ""
    """Source of `given_area_mm2` and `idle_power_w`."""

    @model_validator(mode="after")
    def _names_exist(self) -> DeviceSpec:
        for name, unit in self.units.items():
            for field in ("memory", "buffer"):
                wanted = getattr(unit, field)
                if wanted is not None and wanted not in self.memories:
                    raise PydanticCustomError(
                        "unknown_memory",
                        "unit `{unit}` names the {field} `{wanted}`; {hint}",
                        {
                            "unit": name,
                            "field": field,
                            "wanted": wanted,
                            "hint": nearest(wanted, self.memories),
                        },
                    )
        if not self.units:
            raise PydanticCustomError("no_units", "a device needs at least one unit")
        streamed = {unit.memory for unit in self.units.values()}
        main = self.main_memory or (streamed.pop() if len(streamed) == 1 else "")
        if main not in self.memories:
            raise PydanticCustomError(
                "main_memory",
                "`main_memory` must name one of: {legal}",
                {"legal": ", ".join(self.memories)},
            )
        for name in self.paths:
            if name not in self.memories or name == main:
                legal = ", ".join(other for other in self.memories if other != main)
                raise PydanticCustomError(
                    "path",
                    "a path joins the main memory and another; `{name}` is none of: {legal}",
                    {"name": name, "legal": legal},
                )
        object.__setattr__(self, "main_memory", main)
        return self


class ArchitectureSpec(Spec):
    """A system of one or more equal devices."""

    name: str
    """Name, equal to the file's."""
    family: str
    """Kind of hardware for plots and tables: gpu, npu, npu+pim, edge, null."""
    description: str = ""
    """One or two sentences."""
    source: str | dict[str, str]
    """Where the parameters come from, where components do not say it themselves."""
    technology_nm: Nanometres
    """Process node of the device's logic."""
    devices: Count = 1
    """Number of equal devices."""
    device: DeviceSpec
    link: AnyLink | None = None
    """What joins the devices; needed for more than one."""

    @model_validator(mode="after")
    def _joined(self) -> ArchitectureSpec:
        if self.devices > 1 and self.link is None:
            raise PydanticCustomError(
                "no_link", "{devices} devices need a `link`", {"devices": self.devices}
            )
        return self
