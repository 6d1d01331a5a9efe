"""What ``accelsim show`` says of a design: figures that follow from it, and every parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.cli._numbers import count, si

if TYPE_CHECKING:
    from accelsim.config import Resolved, Spec

__all__ = ["Design", "Fact", "Parameter", "describe"]

CONTEXT = 1024
"""Tokens of the passes whose work is shown."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure or text: its label and text for people, its values by name for scripts."""

    label: str
    text: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter: dotted path, value, text with unit, source, and where the file says it.

    The source is ``default`` where no file sets it, and ``= expression`` where one computes it.
    """

    path: str
    value: Any
    text: str
    source: str
    place: str

    @property
    def is_derived(self) -> bool:
        """Whether the source is no citation but a default or an expression."""
        return self.source == "default" or self.source.startswith("= ")


@dataclass(frozen=True, slots=True)
class Design:
    """A model, architecture, mapping or sweep, described."""

    kind: str
    name: str
    file: Path
    facts: tuple[Fact, ...]
    parameters: tuple[Parameter, ...]

    def data(self) -> dict[str, Any]:
        """Return it for JSON."""
        values: dict[str, Any] = {}
        for fact in self.facts:
            values |= fact.values
        listed = [asdict(parameter) for parameter in self.parameters]
        return {
            "kind": self.kind, "name": self.name, "file": self.file, "facts": values,
            "parameters": listed,
        }  # fmt: skip


def describe(kind: str, name: str, file: Path) -> Design:
    """Return what there is to say of a design.

    Parameters
    ----------
    kind : {"model", "arch", "mapping", "sweep", "fusion"}
    name : str
        Library name or path.
    file : Path
        Its file.

    Raises
    ------
    ConfigError
        If the file is wrong.
    """
    reader, folder = _KINDS[kind]
    spec, facts, sources = reader(str(file))
    own = {"name", "description", "source", "family"}
    shown = tuple(p for p in _parameters(spec, folder, file, sources) if p.path not in own)
    stated = tuple(fact for fact in facts if fact.text)
    return Design(kind, getattr(spec, "name", name), file, stated, shown)


Read = tuple["Spec", list[Fact], Mapping[str, str]]
"""A typed object, facts, and sources of parameters by their paths."""


def _fact(label: str, name: str, text: str) -> Fact:
    return Fact(label, text, {name: text} if text else {})


def _model(name: str) -> Read:
    from accelsim.workload import decode, load_model, prefill, resident_bytes, workload
    from accelsim.workload.tensor import Role

    spec = load_model(name)
    one = workload(spec, decode(1, CONTEXT - 1))
    published, weights = spec.published_parameters, resident_bytes(one)[Role.WEIGHT]
    growing, fixed = one.kv_bytes_per_token, one.state_bytes_per_sequence
    facts = [
        _fact("family", "family", spec.family),
        Fact("parameters", count(one.parameters), {"parameters": one.parameters}),
        Fact(
            "  active per token", count(one.active_parameters),
            {"active_parameters": one.active_parameters},
        ),
        Fact("  as published", count(published or 0), {"published_parameters": published}),
        Fact("weights", si(weights, "B"), {"weight_bytes": weights}),
        Fact("KV cache", f"{si(growing, 'B')} per token", {"kv_bytes_per_token": growing}),
        Fact(
            "  windows, state", f"{si(fixed, 'B')} per sequence",
            {"state_bytes_per_sequence": fixed},
        ),
        _work("decode", one, f"for 1 token after {CONTEXT - 1}"),
        _work("prefill", workload(spec, prefill(1, CONTEXT)), f"for {CONTEXT} tokens"),
        _fact("source", "source", spec.source),
    ]  # fmt: skip
    return spec, facts, {}


def _work(name: str, built: Any, what: str) -> Fact:
    from accelsim.workload import totals

    total = totals(built)
    moved = total.read_bytes + total.write_bytes
    text = f"{si(total.flops, 'FLOP')} and {si(moved, 'B')} {what}"
    return Fact(name, text, {f"{name}_flops": total.flops, f"{name}_bytes": moved})


def _arch(name: str) -> Read:
    from accelsim.arch import area_mm2, load, parameters, standing_power_w

    spec = load(name)
    area, power = area_mm2(spec), standing_power_w(spec)
    facts = [
        _fact("family", "family", spec.family),
        _fact("description", "description", spec.description),
        Fact("devices", str(spec.devices), {"devices": spec.devices}),
        Fact("technology", f"{spec.technology_nm:g} nm"),
        *(
            Fact(f"unit {own}", str(getattr(unit, "kind", "")))
            for own, unit in spec.device.units.items()
        ),
        *(
            Fact(
                f"memory {own}",
                f"{si(memory.capacity(), 'B')}, {si(memory.peak_bandwidth(), 'B/s')} peak,"
                f" {si(memory.bandwidth(), 'B/s')} streaming",
                {
                    f"{own}_capacity_bytes": memory.capacity(),
                    f"{own}_peak_bytes_per_s": memory.peak_bandwidth(),
                    f"{own}_stream_bytes_per_s": memory.bandwidth(),
                },
            )
            for own, memory in spec.device.memories.items()
        ),
        Fact("area", f"{area:.4g} mm2 per device", {"area_mm2": area}),
        Fact("standing power", f"{si(power, 'W')} per device", {"standing_power_w": power}),
        *_die(spec, area),
    ]
    return spec, facts, {path: source for path, _, source in parameters(name)}


def _die(spec: Any, area_mm2: float) -> list[Fact]:
    """Return what a good die costs, where the file says how it is made."""
    from accelsim.cost._die_cost import die_cost

    if spec.device.die is None:
        return []
    cost = die_cost(spec.device.die, area_mm2, spec.technology_nm)
    text = (
        f"{cost.good_die_usd:,.0f} USD good: {cost.dies_per_wafer} on a wafer of"
        f" {cost.wafer_price_usd:,.0f} USD, {cost.die_yield:.0%} of them sell"
    )
    return [Fact("die", text, {"good_die_usd": cost.good_die_usd, "die_yield": cost.die_yield})]


def _mapping(name: str) -> Read:
    from accelsim.mapping import load

    spec = load(name)
    facts = [
        _fact("description", "description", spec.description),
        _fact("source", "source", spec.source),
    ]
    for number, rule in enumerate(spec.place, 1):
        where = rule.on if isinstance(rule.on, str) else ", ".join(rule.on)
        facts.append(Fact(f"rule {number}", f"{rule.when or 'everything else'} -> {where}"))
    return spec, facts, {}


def _sweep(name: str) -> Read:
    from accelsim.explore import load_sweep, size

    spec = load_sweep(name)
    aims = ", ".join(f"{metric} ({sense})" for metric, sense in spec.objectives.items())
    facts = [
        _fact("description", "description", spec.description),
        _fact("source", "source", spec.source or ""),
        Fact("points", count(size(spec)), {"points": size(spec)}),
        _fact("objectives", "objectives", aims),
        _fact("output", "output", str(spec.folder)),
    ]
    return spec, facts, {}


def _fusion(name: str) -> Read:
    from accelsim.mapping.fusion import load_fusion_policy

    spec = load_fusion_policy(name)
    facts = [
        _fact("description", "description", spec.description),
        _fact("source", "source", spec.source),
    ]
    return spec, facts, {}


_KINDS = {
    "model": (_model, "models"), "arch": (_arch, "arch"), "mapping": (_mapping, "mapping"),
    "sweep": (_sweep, "sweeps"), "fusion": (_fusion, "mapping/fusion"),
}  # fmt: skip

Path_ = tuple[str | int, ...]


def _parameters(
    spec: Spec, folder: str, file: Path, sources: Mapping[str, str]
) -> Iterator[Parameter]:
    """Yield every parameter, those that the file leaves at their default too."""
    from accelsim.config import dotted, load_resolved

    resolved: Resolved = load_resolved(file, folder)
    whole = str(getattr(spec, "source", "") or "")
    imported = file.suffix == ".json"  # says everything in another program's words
    for path, value in _leaves(spec.model_dump(by_alias=True), ()):
        if "source" in path:
            continue
        where, name = resolved.tree.values.get(path), dotted(path)
        expression = resolved.expressions.get(path)
        given = f"= {expression}" if expression else sources.get(name, whole)
        source = given if where or imported else "default"
        yield Parameter(name, value, _text(path, value), source, str(where or ""))


def _leaves(node: Any, path: Path_) -> Iterator[tuple[Path_, Any]]:
    if isinstance(node, Mapping) and node:
        for key, item in node.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(node, (list, tuple)) and any(isinstance(i, (Mapping, list)) for i in node):
        for position, item in enumerate(node):
            yield from _leaves(item, (*path, position))
    elif node is not None and node != "":
        yield path, node


def _text(path: Path_, value: Any) -> str:
    """Return a value as a file would write it, with the unit that its field's name states."""
    from accelsim.quantity import format_quantity, unit_of_field

    if isinstance(value, (list, tuple)):
        return f"[{', '.join(str(item) for item in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (int, float)):
        return str(value)
    # The second for a field such as `peak_flops`, which holds a value for each number format.
    dimension = next(filter(None, map(unit_of_field, map(str, reversed(path[-2:])))), None)
    if dimension is None or abs(value) == float("inf"):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return format_quantity(value, dimension)
