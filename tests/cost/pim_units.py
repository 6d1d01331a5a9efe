"""What the tests of units in memory share: the shipped fragments, small works, the contract."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from accelsim.config import library, load_spec
from accelsim.cost import Setting, Work
from accelsim.cost._pim_cycles import (
    Commands,
    column_cycles,
    interrupted_cycles,
    passes_cycles,
    slack_cycles,
    visit_cycles,
)
from accelsim.cost.dram import Dram
from accelsim.cost.pim_bank import PimBank
from accelsim.measure.cases import pim
from accelsim.testing.components import KernelCall, UnitContract
from tests.reference import reference_file


def dram(name: str) -> Dram:
    return load_spec(library.find("arch", f"components/{name}"), Dram)


def bank(name: str, **changes: object) -> PimBank:
    spec = load_spec(library.find("arch", f"components/{name}"), PimBank)
    return PimBank.model_validate(spec.model_dump() | changes) if changes else spec


def setting(memory: str) -> Setting:
    return Setting(memory=dram(memory), buffer=None, technology_nm=7.0)


def key_product(sequences: int, heads: int, length: int, width: int = 128, m: int = 1) -> Work:
    """Scores of `heads` KV heads per sequence against `length` keys."""
    matrices = sequences * heads
    return Work(
        "matmul", "score", batch=matrices, m=m, n=length, k=width, kv_heads=heads,
        kv_bytes=2 * matrices * length * width, input_bytes=2 * matrices * m * width,
        output_bytes=2 * matrices * m * length, macs=matrices * m * length * width,
    )  # fmt: skip


def value_product(sequences: int, heads: int, length: int, width: int = 128, m: int = 1) -> Work:
    """Context of the same: `length` values of `width`."""
    keys = key_product(sequences, heads, length, width, m)
    return replace(
        keys, function="context", n=width, k=length,
        input_bytes=keys.output_bytes, output_bytes=keys.input_bytes,
    )  # fmt: skip


def gemv(outputs: int, inputs: int) -> Work:
    """A weight matrix by one vector."""
    return Work(
        "matmul", m=1, n=outputs, k=inputs, weight_bytes=2 * outputs * inputs,
        input_bytes=2 * inputs, output_bytes=2 * outputs, macs=outputs * inputs,
    )  # fmt: skip


ATTACC = Commands(19, 19, 8, 45, 6, 0, 1, 0, 0, 1, 4, 19, 19, 2, 5070, 456)
NEUPIMS = Commands(105, 33, 5, 34, 2, 1, 6, 96, 0, 32, 2, 14, 14, 2, 3900, 260)
SOME_PASSES = np.array(
    [[3, 1, 4, 2, 32, 4, 8, 1, 12, 0], [2, 1, 4, 0, 32, 4, 16, 2, 0, 0]], np.int64
)


class BankContract(UnitContract):
    """What every fragment of bank units keeps; the matrix rests in the banks."""

    fragment = ""
    memory = ""

    def unit(self) -> PimBank:
        return bank(self.fragment)

    def setting(self) -> Setting:
        return setting(self.memory)

    def refused(self) -> Sequence[Work]:
        return (
            Work("softmax", m=8, n=128),
            replace(gemv(256, 256), m=1000),
            replace(gemv(256, 256), bits_b=4),
        )

    def peak_macs_per_s(self, work: Work) -> float:
        unit, memory = self.unit(), dram(self.memory)
        placement = {"score": unit.score, "context": unit.context}.get(work.function, unit.weights)
        assert placement is not None
        lanes = unit.mac_bytes * 8 // work.bits_b
        units = memory.total_channels * placement.banks
        return unit.vectors_per_read * units * lanes / unit.mac_cycles * memory.clock

    def grown_dimensions(self, work: Work) -> Sequence[str]:
        return ("n", "k")

    def test_moves_compulsory_bytes(self) -> None:
        """Vectors and results cross the interface, the matrix does not."""
        for work, estimate in self._estimates():
            assert estimate.weight_traffic_bytes == 0, work
            assert estimate.includes_memory
            assert estimate.input_traffic_bytes >= work.input_bytes, work
            assert estimate.output_traffic_bytes >= work.output_bytes, work

    def test_energy_covers_every_bit_once(self) -> None:
        """The array energy is at least that of reading the matrix without padding."""
        unit = self.unit()
        for work, estimate in self._estimates():
            read = (work.weight_bytes + work.kv_bytes) / unit.mac_bytes
            read *= work.m / unit.vectors_per_read
            assert estimate.energy_pj["pim"] >= read * unit.mac_pj, work

    def kernels(self) -> Sequence[KernelCall]:
        return (
            (column_cycles, (NEUPIMS, 32, 4)),
            (visit_cycles, (ATTACC, 20, 20)),
            (passes_cycles, (NEUPIMS, SOME_PASSES)),
            (slack_cycles, (NEUPIMS, SOME_PASSES)),
            (interrupted_cycles, (ATTACC, 12345.0, 5070.0, True)),
        )


def errors(group: str) -> np.ndarray:
    """Return the relative errors of a group of reference rows, in percent."""

    def read(name: str) -> list[dict[str, str]]:
        with reference_file(name).open() as file:
            return list(csv.DictReader(line for line in file if not line.startswith("#")))

    cases = pim.predict(read("pim_golden.csv"), read("pim_golden_requests.csv"))
    found = [case for case in cases if case.group == group and case.predicted is not None]
    assert len(found) >= 2, group
    return np.array([float(case.error_percent or 0) for case in found])
