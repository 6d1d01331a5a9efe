"""A small cascade, device and binding in YAML, for tests that change them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelsim.mapping.cascade import CascadeCost, evaluate_cascade, load_device, load_policy
from accelsim.workload import forward, load_model
from accelsim.workload.cascade import Cascade, cascade_of

PRODUCT = """\
name: product
family: einsum
source: nobody
parameters:
  shape: {m: 8, n: 4, k: 16}
  tensors: {W: {role: weight}}
  einsums: ["S[m, n] = X[m, k] * W[k, n]", "Y[m, n] = exp(S[m, n])"]
dtypes: {weight: fp16, activation: fp16}
"""

DEVICE = """\
name: tiny
source: nobody
technology_nm: 45
clock: 1 GHz
arrays:
  grid:
    rows: 2
    columns: 2
    operations: {mac: {uses: {mac: 1}}}
    units_pj: {mac: 3}
    units_um2: {mac: 10}
    registers: {read_pj: 1, write_pj: 2, area_um2: 5}
  vector:
    rows: 1
    columns: 4
    operations: {exp: {cycles: 2, uses: {mac: 6}}}
    units_pj: {mac: 3}
    registers: {read_pj: 0, write_pj: 0}
buffer: {capacity: 1024, row_bits: 32, read_pj: 7, write_pj: 11, area_um2: 100}
dram: {bandwidth: 1e9, pj_per_bit: 1}
"""

POLICY = """\
name: bound
source: nobody
model: product
groups:
  all:
    outer: {m: 4, n: full}
    homes: {X: buffer, W: buffer, Y: dram}
    einsums:
      S: {array: grid, spatial: {m: columns, n: rows}, inner: [m, n, k]}
      Y: {array: vector, spatial: {n: columns}, inner: [m, n]}
    phases: [[S, Y]]
"""


class Bench:
    """A cascade, a device and a policy in a folder, each of which a test may change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def cascade(self) -> Cascade:
        return cascade_of(load_model(self.write("product", PRODUCT)), forward(1, 1))

    def run(self, policy: str = POLICY, device: dict[str, Any] | None = None) -> CascadeCost:
        made = load_device(str(self.write("tiny", DEVICE)), device)
        bound = load_policy(str(self.write("bound", policy)))
        return evaluate_cascade(self.cascade(), made, bound)

    def write(self, name: str, text: str) -> Path:
        file = self.folder / f"{name}.yaml"
        file.write_text(text, encoding="utf-8")
        return file


def changed(old: str, new: str) -> str:
    """Return the policy with one text replaced."""
    assert old in POLICY
    return POLICY.replace(old, new, 1)
