"""How fast cascades are fused, and what it saves: GPT-3 6.7B on TPU-v4i and behind one buffer.

``python -m benchmarks.bench_fusion [--repeats N] [--only real]``.  CPU seconds of this process,
warm kernels, nothing remembered between searches.  AccelForge 1.0.467 took 104.6 CPU s for the
attention (one shared loop) and 47.4 CPU s for the layer, on a shared machine of 2 cores; it
prints no energy of either that we hold.  Statements as of its workload `gpt3_6.7B.yaml`, sizes as
its examples/workloads/transformers/gpt at 750941e, batch 1 (softmax is one operation per score,
here `exp`, no norms, no residuals).  Real softmax is that of the library's cascades, of three
passes and of one, under the library's policies.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from time import process_time

from accelsim import arch
from accelsim.mapping.fusion import (
    FusionPolicy,
    device_of,
    fuse_cascade,
    load_fusion_policy,
    statements,
)
from accelsim.nest import Storage, accounting
from accelsim.nest.fuse import (
    FusedDevice,
    Fusion,
    FusionLimits,
    FusionObjective,
    Statement,
    fuse,
)
from accelsim.workload import forward, load_model
from accelsim.workload.cascade import Cascade, cascade_of
from accelsim.workload.families._einsum_config import EinsumConfig

__all__ = ["attention", "layer", "machine", "real", "run", "softmax"]

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


REAL: list[tuple[str, FusionObjective, str, str, str]] = [
    # device, objective, accounting, cascade, policy
    ("tpuv4i-accelforge", "energy", "accelforge", "attention-3-pass", "tpuv4i-apart"),
    ("tpuv4i-accelforge", "energy", "accelforge", "attention-3-pass", "tpuv4i-flat"),
    ("tpuv4i-accelforge", "energy", "accelforge", "attention-1-pass", "tpuv4i-apart"),
    ("tpuv4i-accelforge", "energy", "accelforge", "attention-1-pass", "tpuv4i-flash-attention"),
    ("tpuv4i-accelforge", "energy", "accelforge", "attention-1-pass", "tpuv4i-fusemax"),
    ("tpuv4i-accelforge", "energy", "accelforge", "attention-1-pass", "tpuv4i-free"),
    ("tpuv4i-accelforge", "latency", "accelforge", "attention-3-pass", "tpuv4i-flat"),
    ("tpuv4i-accelforge", "edp", "accelforge", "attention-3-pass", "tpuv4i-flat"),
    ("tpuv4i-accelforge", "latency", "accelsim", "attention-3-pass", "tpuv4i-apart"),
    ("tpuv4i-accelforge", "latency", "accelsim", "attention-3-pass", "tpuv4i-flat"),
    ("tpuv4i-accelforge", "latency", "accelsim", "attention-1-pass", "tpuv4i-flash-attention"),
    ("tpuv4i-accelforge", "latency", "accelsim", "attention-1-pass", "tpuv4i-fusemax"),
    ("snowcat", "traffic", "accelforge", "attention-3-pass", "apart"),
    ("snowcat", "traffic", "accelforge", "attention-3-pass", "flat"),
    ("snowcat", "traffic", "accelforge", "attention-1-pass", "apart"),
    ("snowcat", "traffic", "accelforge", "attention-1-pass", "flash-attention"),
    ("snowcat", "traffic", "accelforge", "attention-1-pass", "fusemax"),
]
"""Cases of real softmax; Snowcat has a buffer of 4 MiB."""


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
            f"{self.what:78} {spent:24} CPU s  {one.energy_pj * 1e-9:11.6f} mJ"
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


def softmax(name: str, bits: int = 8) -> Cascade:
    """Return a cascade of the library with the heads of GPT-3 6.7B."""
    shape = {f"parameters.shape.{rank}": SIZES[rank] for rank in "hef"}
    found = cascade_of(load_model(name, shape), forward(1, SIZES["p"]))
    tensors = {key: replace(one, dtype=f"int{bits}") for key, one in found.tensors.items()}
    return replace(found, tensors=tensors)


def real(repeats: int = 1) -> list[Row]:
    """Return the figures of real softmax."""
    rows = []
    for device, objective, rules, name, policy_name in REAL:
        policy = load_fusion_policy(policy_name, {"accounting": rules})
        buffer_bits = 4 * 8 * 2**20 if device == "snowcat" else 0.0
        made = machine(device, policy, buffer_bits=buffer_bits)
        rows.append(timed(
            f"{name} on {device}, {policy_name}, {objective} by {rules}",
            partial(fuse_cascade, softmax(name), made, policy, objective), repeats,
        ))  # fmt: skip
    return rows


def machine(
    name: str, policy: FusionPolicy, bits: int = 8, buffer_bits: float = 0.0
) -> FusedDevice:
    """Return a device of the library; its weight registers hold one operand."""
    made = device_of(arch.load(name), policy, "int8")

    def sized(node: object) -> object:
        if not isinstance(node, Storage):
            return node
        if node.name == "Register":
            return replace(node, capacity_bits=float(bits))
        if buffer_bits and node.name == made.memory:
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
    parser.add_argument("--only", choices=("all", "real"), default="all")
    given = parser.parse_args()
    if given.only == "all":
        run(given.repeats)
    real(given.repeats)


if __name__ == "__main__":
    main()
