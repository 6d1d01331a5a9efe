"""Loads architectures by name and answers questions about the whole: area, capacity, sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from accelsim.arch.spec import ArchitectureSpec
from accelsim.config import Resolved, library, load_named, load_resolved, validate
from accelsim.cost import Memory

__all__ = ["Parameter", "area_mm2", "load", "main_memory", "parameters", "standing_power_w"]

Parameter = tuple[str, Any, str]
"""Dotted path, value, source."""


def load(name: str, overrides: Mapping[str, Any] | None = None) -> ArchitectureSpec:
    """Return an architecture by library name or file path.

    Parameters
    ----------
    name : str
        Name in the library, or path of a YAML file.
    overrides : mapping, optional
        Dotted field path -> value, for example ``{"device.units.array.rows": 64}``.

    Raises
    ------
    ConfigError
        If the file or an override is wrong; says where and what is legal.
    """
    return load_named(name, ArchitectureSpec, "arch", overrides)


def main_memory(architecture: ArchitectureSpec) -> Memory:
    """Return the memory that holds one device's weights and KV cache."""
    return architecture.device.memories[architecture.device.main_memory]


def area_mm2(architecture: ArchitectureSpec) -> float:
    """Return the silicon area of one device: published where given, else summed components."""
    device = architecture.device
    if device.given_area_mm2 is not None:
        return device.given_area_mm2
    parts = [*device.units.values(), *device.memories.values()]
    node = architecture.technology_nm
    return float(sum(part.area_mm2(node) for part in parts))


def standing_power_w(architecture: ArchitectureSpec) -> float:
    """Return the power that one device draws whatever it does: leakage, refresh, idle."""
    device, node = architecture.device, architecture.technology_nm
    units = sum(unit.leakage_w(node) for unit in device.units.values())
    memories = sum(memory.background_w() for memory in device.memories.values())
    return float(units + memories + device.idle_power_w)


def parameters(name: str) -> list[Parameter]:
    """Return every parameter that an architecture's file (or its bases) sets, with its source.

    The source is the component's own for that field, else its default, else that of the nearest
    enclosing mapping that has one.
    """
    resolved = load_resolved(library.find("arch", name), "arch")
    validate(resolved, ArchitectureSpec)
    return list(_leaves(resolved, resolved.data, (), ""))


def _leaves(
    resolved: Resolved, node: Any, path: tuple[str | int, ...], inherited: str
) -> Iterator[Parameter]:
    if isinstance(node, Mapping):
        given = node.get("source", inherited)
        for key, value in node.items():
            if key == "source":
                continue
            source = given
            if isinstance(given, Mapping):
                source = given.get(key, given.get("default", inherited))
            yield from _leaves(resolved, value, (*path, key), source)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _leaves(resolved, value, (*path, index), inherited)
    else:
        text = ".".join(str(part) for part in path)
        expression = resolved.expressions.get(path)
        yield text, node, f"= {expression}" if expression else inherited
