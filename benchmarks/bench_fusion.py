"""How fast cascades are fused, and what it saves: GPT-3 6.7B on TPU-v4i and behind one buffer.

``python -m benchmarks.bench_fusion [--repeats N]``.  CPU seconds of this process, warm kernels,
nothing remembered between searches.  AccelForge 1.0.467 took 104.6 CPU s for the attention (one
shared loop) and 47.4 CPU s for the layer, on a shared machine of 2 cores; it prints no energy of
either that we hold.  Statements as of its workload `gpt3_6.7B.yaml`, sizes as its
examples/workloads/transformers/gpt at 750941e, batch 1 (softmax is one operation
per score, here `exp`, no norms, no residuals).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from time import process_time

from accelsim import arch, mapping
from accelsim.cost import Setting
from accelsim.cost.spatial import SpatialArray
from accelsim.mapping.fusion import FusionPolicy, fused_device, statements
from accelsim.nest import Storage, accounting
from accelsim.nest.fuse import FusedDevice, Fusion, FusionLimits, Statement, fuse
from accelsim.workload import forward
from accelsim.workload.cascade import Cascade, cascade_of
from accelsim.workload.families._einsum_config import EinsumConfig

__all__ = ["attention", "layer", "machine", "run"]

RULES = accounting("accelforge")
ATTENTION = [
    "QK[b, m, p, h] = Q[b, m, h, e] * K[b, p, h, e]",
    "A[b, m, p, h] = exp(QK[b, m, p, h])",
    "AV[b, m, h, f] = A[b, m, p, h] * V[b, p, h, f]",
]
LAYER = [
    "V[b, m, h, e] = I[b, m, d] * WV[h, e, d]",
    "K[b, m, h, e] = I[b, m, d] * WK[h, e, d]",
    "Q[b, m, h, e] = I[b, m, d] * WQ[h, e, d]",
    "QK[b, m, p, h] = Q[b, m, h, e] * K[b, p, h, e]",
    "A[b, m, p, h] = exp(QK[b, m, p, h])",
    "AV[b, m, h, f] = A[b, m, p, h] * V[b, p, h, f]",
    "Z[b, m, g] = AV[b, m, h, f] * WZ[h, f, g]",
    "FFA[b, m, c] = Z[b, m, g] * WFFA[g, c]",
    "FFB[b, m, j] = FFA[b, m, c] * WFFB[c, j]",
]
SIZES = {"b": 1, "h": 32, "m": 2048, "p": 2048, "e": 128, "f": 128, "d": 4096, "g": 4096,
         "c": 16384, "j": 4096}  # fmt: skip
TPU = FusionPolicy(
    name="tpuv4i", memory="GlobalBuffer", arrays={"mac": "array", "default": "scalar"},
    vectors={"scalar": {"below": "LocalBuffer", "per_cycle": 128}},  # its ScalarUnit, no energy
)  # fmt: skip
BUFFER = FusionPolicy(
    name="snowcat", memory="GlobalBuffer", arrays={"default": "array"}, loops=2, longest=3,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One search: what it found, and its CPU seconds."""

    what: str
    found: Fusion
    seconds: list[float]

    def __str__(self) -> str:
        one = self.found
        spent = f"{median(self.seconds):.2f} ({min(self.seconds):.2f} to {max(self.seconds):.2f})"
        return (
            f"{self.what:44} {spent:24} CPU s  {one.energy_pj * 1e-9:11.6f} mJ"
            f"  {one.moved_bits / 8e6:9.2f} MB  {one.latency_s * 1e3:8.4f} ms"
            f"  gap {one.gap:.2g}  groups {[len(group.names) for group in one.groups]}"
        )


def cascade(texts: list[str], bits: int) -> Cascade:
    """Return statements of GPT-3 6.7B with operands of so many bits."""
    used = {rank: size for rank, size in SIZES.items() if any(rank in text for text in texts)}
    config = EinsumConfig.model_validate({"shape": used, "einsums": texts})
    found = cascade_of(config, forward(1, 2048))
    tensors = {name: replace(one, dtype=f"int{bits}") for name, one in found.tensors.items()}
    return replace(found, tensors=tensors)


def attention(bits: int = 8) -> tuple[Statement, ...]:
    """Return products and softmax of all heads, for the TPU."""
    return statements(cascade(ATTENTION, bits), TPU)


def layer(bits: int = 8) -> tuple[Statement, ...]:
    """Return a layer, for one buffer."""
    return statements(cascade(LAYER, bits), BUFFER)


def machine(
    name: str, policy: FusionPolicy, bits: int = 8, buffer_bits: float = 0.0
) -> FusedDevice:
    """Return a device of the library; its weight registers hold one operand."""
    architecture = arch.load(name)
    array = next(u for u in architecture.device.units.values() if isinstance(u, SpatialArray))
    setting = Setting(
        architecture.device.memories[array.memory], None, architecture.technology_nm,
        nests=mapping.load("nests-fastest").nests,
    )  # fmt: skip
    made = fused_device(array, setting, policy, "int8")

    def sized(node: object) -> object:
        if not isinstance(node, Storage):
            return node
        if node.name == "Register":
            return replace(node, capacity_bits=float(bits))
        if buffer_bits and node.name == policy.memory:
            return replace(node, capacity_bits=buffer_bits)
        return node

    arrays = {
        key: replace(one, nodes=tuple(map(sized, one.nodes)))  # type: ignore[arg-type]
        for key, one in made.arrays.items()
    }
    return replace(made, arrays=arrays)


def timed(what: str, call: Callable[[], Fusion], repeats: int) -> Row:
    """Return what a call finds and its CPU seconds; the first, which compiles, does not count."""
    found = call()
    seconds = []
    for _ in range(repeats):
        began = process_time()
        found = call()
        seconds.append(process_time() - began)
    row = Row(what, found, seconds)
    print(row, flush=True)
    return row


def run(repeats: int = 3) -> list[Row]:
    """Return all figures."""
    rows = []
    for bits in (8, 16):
        texts, tpu = attention(bits), machine("tpuv4i-accelforge", TPU, bits)
        apart = FusionLimits(tuple((one.name,) for one in texts))
        for what, limits in (
            ("fused", None), ("fused, one shared loop", FusionLimits(loops=1)), ("apart", apart),
        ):  # fmt: skip
            rows.append(timed(
                f"attention on TPU-v4i, {bits} bits, {what}",
                partial(fuse, texts, tpu, rules=RULES, limits=limits), repeats,
            ))  # fmt: skip
    texts, snowcat = layer(), machine("snowcat", BUFFER, buffer_bits=4 * 8 * 2**20)
    apart = FusionLimits(tuple((one.name,) for one in texts))
    for what, limits in (("fused", BUFFER.limits()), ("apart", apart)):
        rows.append(timed(
            f"layer behind 4 MiB, 8 bits, {what}",
            partial(fuse, texts, snowcat, rules=RULES, limits=limits), repeats,
        ))  # fmt: skip
    return rows


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    run(parser.parse_args().repeats)


if __name__ == "__main__":
    main()
