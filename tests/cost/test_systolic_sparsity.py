"""Zeros in a systolic array: skipped or gated where it says so, multiplied where it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from accelsim.cost import Work
from accelsim.evaluation import evaluate
from tests.cost.test_systolic import SETTING, array, product

SPARSE_CORE = {"structured": ["2:4"], "selectable": 2}
OS = replace(SETTING, dataflow="os")


def sparse(density: float, pattern: str) -> Work:
    return replace(product(1024, 1024, 4096), density_b=density, pattern_b=pattern)


def test_a_sparse_core_doubles_the_products_along_k() -> None:
    """2:4 weights run as a product of half the k, at half the MAC energy."""
    core = array(skipping=SPARSE_CORE)
    found = core.estimate(sparse(0.5, "2:4"), OS)
    half = core.estimate(product(1024, 1024, 2048), OS)
    assert found.compute_ps == half.compute_ps
    assert found.energy_pj["mac"] == pytest.approx(half.energy_pj["mac"])
    assert found.ideal_ps == pytest.approx(half.ideal_ps)


@pytest.mark.parametrize(("density", "pattern"), [(0.5, "unstructured"), (0.5, "block 64x64")])
def test_what_an_array_cannot_use_is_charged_dense(density: float, pattern: str) -> None:
    dense = array(skipping=SPARSE_CORE).estimate(sparse(1.0, ""), OS)
    assert array(skipping=SPARSE_CORE).estimate(sparse(density, pattern), OS) == dense
    assert array().estimate(sparse(0.5, "2:4"), OS) == array().estimate(sparse(1.0, ""), OS)


def test_gating_changes_mac_energy_alone() -> None:
    gated = array(skipping={"gates": "weight"}).estimate(sparse(0.25, "unstructured"), OS)
    plain = array().estimate(sparse(1.0, ""), OS)
    assert gated.energy_pj["mac"] == 0.25 * plain.energy_pj["mac"]
    assert replace(gated, energy_pj=plain.energy_pj) == plain


def test_sparsity_of_a_model_reaches_the_array(tmp_path: Path) -> None:
    """A transform's 2:4 weights are skipped where the array says that it can."""
    model, core = tmp_path / "sparse.yaml", tmp_path / "core.yaml"
    model.write_text(
        "extends: gpt2\nname: sparse\ntransforms: [{kind: weight_sparsity}]\n", encoding="utf-8"
    )
    core.write_text(
        "extends: npu-tpuv4i\nname: core\ndevice: {units: {array: {skipping:"
        " {structured: ['2:4'], selectable: 2}}}}\n",
        encoding="utf-8",
    )
    slow, fast = (
        evaluate(str(model), str(arch), "npu-only", phase="prefill", batch=8, seq_len=512)
        for arch in ("npu-tpuv4i", core)
    )
    assert fast.latency_s < 0.9 * slow.latency_s
    assert fast.energy_j < slow.energy_j
