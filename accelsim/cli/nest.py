"""``accelsim nest``: the loop nests of a model, or of one product, on a spatial array."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim.cli._numbers import count, percent, si
from accelsim.cli._options import Arch, Batch, Json, SeqLen, Set, read_overrides
from accelsim.cli._output import place, print_json, table, write, writing

if TYPE_CHECKING:
    from accelsim.mapping.nests import MappedNest, MappedNests

__all__ = ["nest"]

_PRODUCT = re.compile(r"(\d+)x(\d+)x(\d+)")


def nest(
    model: Annotated[
        str, typer.Argument(help="A model, or a product MxNxK, for example 4096x4096x4096.")
    ],
    arch: Arch,
    mapping: Annotated[
        str, typer.Argument(help="Mapping policy: its `nests` say what is searched or given.")
    ] = "nests-fastest",
    operator: Annotated[
        str, typer.Option("--operator", "-o", help="Print this operator's loops and traffic.")
    ] = "",
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", help="Folder for the loops, the traffic and the energy."),
    ] = None,
    front: Annotated[
        bool, typer.Option("--front", help="Every mapping that is the fastest for its energy.")
    ] = False,
    dtype: Annotated[str, typer.Option(help="Format of a product's operands.")] = "int8",
    phase: Annotated[
        str, typer.Option("--phase", help="prefill, decode, mixed or forward; the usual one.")
    ] = "",
    batch: Batch = 1,
    seq_len: SeqLen = 1024,
    changes: Set = None,
    as_json: Json = False,
) -> None:
    """Print how a spatial array runs a model's products and convolutions, loop by loop."""
    found = _found(model, arch, mapping, dtype, phase, batch, seq_len, changes)
    chosen = _chosen(found, operator)
    files = [] if pictures is None else _draw(found, chosen, pictures)
    fronts = _fronts(chosen) if front else []
    if as_json:
        print_json(_plain(found) | {"pictures": files, "front": fronts})
        return
    if front:
        _print_front(fronts)
    elif chosen is not None:
        _print_one(chosen)
    else:
        _print_all(found)
    for file in files:
        write(place(file))


def _found(
    model: str, arch: str, mapping: str, dtype: str, phase: str, batch: int, seq_len: int,
    changes: list[str] | None,
) -> MappedNests:  # fmt: skip
    from accelsim import arch as architectures
    from accelsim import mapping as policies
    from accelsim.cli._graphs import graph_of
    from accelsim.cost import Work
    from accelsim.cost._technology import format_bits
    from accelsim.mapping.nests import MappedNests, map_product, map_workload

    split: dict[str, dict[str, Any]] = {"arch": {}, "mapping": {}}
    others = []
    for text, (path, value) in zip(changes or (), read_overrides(changes).items(), strict=True):
        head, _, rest = path.partition(".")
        if head in split and rest:
            split[head][rest] = value
        else:
            others.append(text)
    architecture = architectures.load(arch, split["arch"])
    policy = policies.load(mapping, split["mapping"])
    product = _PRODUCT.fullmatch(model)
    if product is None:
        workload = graph_of(model, phase, batch, seq_len, others)
        return map_workload(workload, architecture, policy)
    m, n, k = (int(size) for size in product.groups())
    bits = format_bits(dtype)
    work = Work("matmul", dtype=dtype, batch=batch, m=m, n=n, k=k, bits_a=bits, bits_b=bits,
                bits_c=bits)  # fmt: skip
    return MappedNests((map_product(work, architecture, policy),), ())


def _chosen(found: MappedNests, operator: str) -> MappedNest | None:
    """Return the nest of the operator that is asked for, or the only one."""
    from accelsim.errors import UnknownNameError

    if not operator:
        return found.nests[0] if len(found.nests) == 1 else None
    names = [name for one in found.nests for name in one.operators]
    for one in found.nests:
        if any(name in (operator, f"{name.split('.')[0]}.{operator}") for name in one.operators):
            return one
    raise UnknownNameError("operator that an array runs", operator, names)


def _print_all(found: MappedNests) -> None:
    rows = [
        (
            one.operators[0], f"x{one.times}", one.shape, count(round(one.figures.cycles)),
            percent(one.utilisation), si(one.figures.energy_pj * 1e-12, "J"),
            si(one.figures.moved_bits / 8, "B"), f"{one.gap:.1%}" if one.gap else "best",
        )
        for one in found.nests
    ]  # fmt: skip
    columns = [("operator", "<"), ("", ">"), ("dims", "~"), ("cycles", ">"), ("busy", ">"),
               ("energy", ">"), ("DRAM", ">"), ("gap", ">")]  # fmt: skip
    if rows:
        device = found.nests[0].hierarchy
        busy = found.macs / device.units / device.mac_rate / found.cycles
        write(table(columns, [("", rows)]))
        write(
            f"\n{count(round(found.cycles))} cycles one after the other,"
            f" {si(found.latency_s, 's')}, {busy:.1%} busy,"
            f" {si(found.energy_pj * 1e-12, 'J')} dynamic"
        )
    reasons: dict[str, list[str]] = {}
    for name, reason in found.others:
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        write(f"elsewhere: {', '.join(names[:3])}{more} ({reason})")


def _print_one(one: MappedNest) -> None:
    from accelsim.nest.text import nest_text
    from accelsim.report.nest import traffic_text

    write(nest_text(one.problem, one.hierarchy, one.nest))
    write("")
    write(traffic_text(one.problem, one.hierarchy, one.nest, one.figures))
    proven = f"at most {one.gap:.2%} from the best" if one.gap else "no other has less of it"
    write(
        f"\n{count(round(one.figures.cycles))} cycles, {si(one.figures.latency_s, 's')},"
        f" {one.utilisation:.1%} busy, {si(one.figures.energy_pj * 1e-12, 'J')}; {proven}"
    )


def _fronts(one: MappedNest | None) -> list[dict[str, Any]]:
    """Return latency, energy and loops of the front of one operator."""
    from accelsim.errors import ConfigError
    from accelsim.nest.mapper.front import search_front
    from accelsim.nest.text import nest_line

    if one is None:
        raise ConfigError("a front is of one operator", path="--front", hint="give --operator")
    found = search_front(one.problem, one.hierarchy, rules=one.rules)
    return [
        {
            "latency_s": each.figures.latency_s, "energy_pj": each.figures.energy_pj,
            "cycles": each.figures.cycles,
            "nest": nest_line(one.problem, one.hierarchy, each.nest),
        }
        for each in found
    ]  # fmt: skip


def _print_front(front: list[dict[str, Any]]) -> None:
    rows = [
        (si(one["latency_s"], "s"), si(one["energy_pj"] * 1e-12, "J"), one["nest"])
        for one in front
    ]
    write(table([("latency", ">"), ("energy", ">"), ("mapping", "~")], [("", rows)]))


def _draw(found: MappedNests, chosen: MappedNest | None, folder: Path) -> list[Path]:
    from accelsim.report.nest import draw_energy, draw_nest, draw_traffic

    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []

    def draw(name: str, *what: Any, by: Any, **more: Any) -> None:
        with writing(folder / name):
            made.append(by(*what, folder / name, **more))

    shown = found.nests if chosen is None else (chosen,)
    draw("energy.png", {one.operators[0]: one.figures for one in shown[:12]}, by=draw_energy)
    if chosen is not None:
        title = chosen.operators[0]
        parts = chosen.problem, chosen.hierarchy, chosen.nest
        draw("nest.png", *parts, by=draw_nest, title=title)
        draw("traffic.png", *parts, chosen.figures, by=draw_traffic, title=title)
    return made


def _plain(found: MappedNests) -> dict[str, Any]:
    return {
        "cycles": found.cycles, "latency_s": found.latency_s, "energy_pj": found.energy_pj,
        "macs": found.macs, "elsewhere": dict(found.others),
        "nests": [
            {
                "operators": one.operators, "times": one.times, "unit": one.unit,
                "dims": dict(zip(one.problem.dims, one.problem.sizes, strict=True)),
                "cycles": one.figures.cycles, "utilisation": one.utilisation,
                "energy_pj": one.figures.energy_pj, "moved_bits": one.figures.moved_bits,
                "gap": one.gap,
                "loops": {
                    node.name: dict(loops)
                    for node, loops in zip(one.hierarchy.nodes, one.nest.loops, strict=True)
                    if loops
                },
                "keep": {
                    node.name: sorted(held)
                    for node, held in zip(one.hierarchy.nodes, one.nest.keeps, strict=True)
                    if held
                },
            }
            for one in found.nests
        ],
    }  # fmt: skip
