"""Fits the SRAM model to CACTI's figures and shows the error where the fit has not looked.

``python -m benchmarks.bench_sram``.  The points (``cacti_sram.csv``) are runs of the CACTI 7 that
hwcomponents-cacti 1.0.40 carries, built from its sources, with that package's settings
(low-standby cells, 300 K, organised for the least leakage).  At 32 and 45 nm they equal the
energies that Timeloop's example designs publish, to their digits less an address adder.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.cost._sram_model import access_fj, area_um2, leakage_pw, sram_macro
from accelsim.cost._technology_rows import MacroShape, SramMacro
from accelsim.cost._technology_table import table

POINTS = Path(__file__).with_name("cacti_sram.csv")
FIGURES = ("read_pj", "write_pj", "area_mm2", "leakage_uw")
LEAST_BYTES, MOST_BYTES = 1024, 4 * 2**20
"""Capacities of the fit; what lies outside is held out, too."""


@dataclass(frozen=True)
class Point:
    technology_nm: float
    ports: int
    capacity_bytes: int
    access_bits: int
    read_pj: float
    write_pj: float
    area_mm2: float
    leakage_uw: float

    @property
    def bits(self) -> float:
        return 8.0 * self.capacity_bytes

    @property
    def is_fitted(self) -> bool:
        """Powers of 4 in capacity (1 KiB to 4 MiB), words of 32, 128 and 512 bits, one port."""
        exact = self.capacity_bytes & (self.capacity_bytes - 1) == 0
        even = self.capacity_bytes.bit_length() % 2 == 1
        inside = LEAST_BYTES <= self.capacity_bytes <= MOST_BYTES
        return exact and even and inside and self.access_bits in (32, 128, 512) and self.ports == 1


def points() -> list[Point]:
    with POINTS.open(encoding="utf-8", newline="") as file:
        return [
            Point(
                float(row["technology_nm"]), int(row["ports"]), int(row["capacity_bytes"]),
                int(row["access_bits"]), *(float(row[name]) for name in FIGURES),
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


def fit(known: Sequence[Point]) -> dict[str, Any]:
    """Return the parameters of ``sram_macro`` that fit the points, least squares of logarithms."""
    nodes = sorted({point.technology_nm for point in known})

    def shape(x: Sequence[float]) -> MacroShape:
        return MacroShape(row=x[0], lines=x[1], spread=x[2])

    def draft(row: float = 1.0, edge: float = 1.0) -> SramMacro:
        return table().sram_macro.model_copy(update={"area_row": row, "leakage_edge": edge})

    def energy(x: Sequence[float], p: Point) -> float:
        return access_fj(shape(x), p.bits, p.access_bits) / 1e3

    def area_mm2(x: Sequence[float], p: Point) -> float:
        return area_um2(draft(row=x[0]), p.bits, p.access_bits) / 1e6

    def leakage_uw(x: Sequence[float], p: Point) -> float:
        return leakage_pw(draft(edge=x[0]), p.bits) / 1e6

    read, read_k = _fit(known, nodes, "read_pj", (0.4, 30, 2), energy)
    write, write_k = _fit(known, nodes, "write_pj", (0.4, 30, 0.5), energy)
    area, area_k = _fit(known, nodes, "area_mm2", (0.3,), area_mm2)
    leak, leak_k = _fit(known, nodes, "leakage_uw", (64,), leakage_uw)
    return {
        "read": dict(zip(("row", "lines", "spread"), read, strict=True)),
        "write": dict(zip(("row", "lines", "spread"), write, strict=True)),
        "area_row": area[0],
        "leakage_edge": leak[0],
        "nodes": [
            {"technology_nm": nm, "read_fj": r, "write_fj": w, "area_um2_per_bit": a,
             "leakage_pw_per_bit": k}
            for nm, r, w, a, k in zip(nodes, read_k, write_k, area_k, leak_k, strict=True)
        ],
    }  # fmt: skip


def _fit(
    known: Sequence[Point],
    nodes: Sequence[float],
    figure: str,
    start: Sequence[float],
    model: Callable[[Sequence[float], Point], float],
) -> tuple[list[float], list[float]]:
    """Return shape parameters, and the size at each node (exact for given shape: a mean)."""
    from scipy.optimize import least_squares

    def residuals(logs: Sequence[float]) -> tuple[list[float], list[float]]:
        shape = np.exp(logs)
        off = [np.log(getattr(p, figure) / model(shape, p)) for p in known]
        sizes = [
            np.mean([o for o, p in zip(off, known, strict=True) if p.technology_nm == nm])
            for nm in nodes
        ]
        place = dict(zip(nodes, sizes, strict=True))
        return [o - place[p.technology_nm] for o, p in zip(off, known, strict=True)], sizes

    found = least_squares(lambda logs: residuals(logs)[0], np.log(start)).x
    return list(np.exp(found)), list(np.exp(residuals(found)[1]))


def pitch(known: Iterable[Point]) -> float:
    """Return the growth of a cell's side per port that the areas of all ports but one show."""
    single = {(p.technology_nm, p.capacity_bytes, p.access_bits): p for p in known if p.ports == 1}
    growth = [
        (np.sqrt(p.area_mm2 / one.area_mm2) - 1) / (p.ports - 1)
        for p in known
        if p.ports > 1 and (one := single.get((p.technology_nm, p.capacity_bytes, p.access_bits)))
    ]
    return float(np.mean(growth))


def errors(of: Iterable[Point]) -> dict[str, list[float]]:
    """Return the relative error of the shipped model at each point, by figure."""
    found: dict[str, list[float]] = {name: [] for name in FIGURES}
    for point in of:
        got = sram_macro(point.capacity_bytes, point.access_bits, point.technology_nm, point.ports)
        values = (got.read_pj, got.write_pj, got.area_mm2, got.leakage_w * 1e6)
        for name, value in zip(FIGURES, values, strict=True):
            found[name].append(value / getattr(point, name) - 1)
    return found


def groups(of: Sequence[Point]) -> dict[str, list[Point]]:
    """Return the points by what the fit knew of them."""
    one = [p for p in of if p.ports == 1]
    inside = [p for p in one if LEAST_BYTES <= p.capacity_bytes <= MOST_BYTES]
    return {
        "fitted": [p for p in one if p.is_fitted],
        "held out": [p for p in inside if not p.is_fitted],
        "held out, below 1 KiB": [p for p in one if p.capacity_bytes < LEAST_BYTES],
        "held out, 8 and 16 MiB": [p for p in one if p.capacity_bytes > MOST_BYTES],
        **{f"held out, {n} ports": [p for p in of if p.ports == n] for n in (2, 3, 4)},
    }


def main() -> None:
    known = points()
    found = fit([p for p in known if p.is_fitted])
    print(f"port_pitch: {pitch(known):.4g}")
    for name, value in found.items():
        print(f"{name}: {_text(value)}")
    print(f"\n{'':24} {'points':>6}  {'  '.join(f'{name:>24}' for name in FIGURES)}")
    print(f"{'':24} {'':>6}  {'  '.join(['   mean   worst    bias'] * len(FIGURES))}")
    for name, some in groups(known).items():
        off = errors(some)
        cells = [
            f"{np.mean(np.abs(off[f])):8.1%}{np.max(np.abs(off[f])):8.1%}{np.mean(off[f]):+8.1%}"
            for f in FIGURES
        ]
        print(f"{name:24} {len(some):6}  {'  '.join(cells)}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "".join(f"\n  - {_text(v)}" for v in value)
    return f"{float(value):.4g}"


if __name__ == "__main__":
    main()
