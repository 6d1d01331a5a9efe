"""The vector unit: NeuPIMs' step counts, compulsory traffic, energy by operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.cost import Setting, Work
from accelsim.cost.infinite import InfiniteMemory
from accelsim.cost.vector import FUNCTIONS, OPERATIONS, VectorUnit, rows_cycles, tree_steps
from accelsim.testing.components import KernelCall, UnitContract
from accelsim.workload.ops import elementwise, norm, softmax

SETTING = Setting(memory=InfiniteMemory(source="test"), buffer=None, technology_nm=7.0)


def unit(**changes: object) -> VectorUnit:
    fields = {
        "source": "NeuPIMs", "memory": "hbm", "lanes": 128, "units": 8, "frequency_hz": "1 GHz"
    }  # fmt: skip
    return VectorUnit.model_validate(fields | changes)


def rows(kind: str, m: int, n: int, ops: int, function: str = "", **fields: int) -> Work:
    size = 2 * m * n
    work = Work(
        kind, function, m=m, n=n, input_bytes=size, output_bytes=size, vector_ops=ops * m * n
    )
    return replace(work, **fields)


@pytest.mark.parametrize(
    ("n", "steps"), [(1, 0), (2, 1), (128, 1), (129, 3), (4096, 33), (128 * 128 + 1, 132)]
)
def test_tree_is_the_recursive_ceiling(n: int, steps: int) -> None:
    """A tree step per 128 values, then per 128 of those, until one is left."""
    assert tree_steps(n, 128) == steps


@pytest.mark.parametrize("n", [64, 128, 1000, 4096, 12288])
def test_neupims_step_counts(n: int) -> None:
    """One row on one unit takes the cycles that NeuPIMs' simulator charges."""
    one, tree, steps = unit(units=1), tree_steps(n, 128), -(-n // 128)
    assert one.cycles(rows("elementwise", 1, n, 1, "add")) == steps
    assert one.cycles(rows("elementwise", 1, n, 5, "gelu")) == steps
    assert one.cycles(rows("softmax", 1, n, 5)) == 2 * tree + 3 * steps
    assert one.cycles(rows("norm", 1, n, 7, "layernorm")) == 2 * tree + 5 * steps + 3


def test_rms_norm_is_layer_norm_without_its_mean() -> None:
    """RMS norm saves a tree, two passes and a step per row."""
    layer, rms = FUNCTIONS["layernorm"], FUNCTIONS["rmsnorm"]
    saved = (layer.trees - rms.trees, layer.passes - rms.passes, layer.fixed - rms.fixed)
    assert saved == (1, 2, 1)


@given(m=st.integers(1, 500), n=st.integers(1, 5000), units=st.integers(1, 16))
def test_rows_are_shared_over_units(m: int, n: int, units: int) -> None:
    """Rows go to units whole: the fullest unit has ceil(m / units) of them."""
    row = rows_cycles(1, n, 128, 1, 2, 3, 0)
    assert rows_cycles(m, n, 128, units, 2, 3, 0) == -(-m // units) * row


def test_elementwise_rows_are_packed() -> None:
    """Without a reduction, short rows fill the lanes together."""
    assert unit().cycles(rows("elementwise", 1024, 8, 1, "add")) == 8


def test_unlisted_functions_cost_a_step_per_operation() -> None:
    """A function without a count takes its operations over all lanes."""
    work = rows("reduce", 64, 1024, 4, "weighted_sum")
    assert unit().cycles(work) == work.vector_ops // 1024


def test_movement_takes_one_pass() -> None:
    """A gather has no arithmetic; its elements pass the lanes once."""
    assert unit().cycles(rows("gather", 64, 1024, 0)) == 64


def test_file_may_count_a_function_itself() -> None:
    """A unit's own step counts replace the built-in ones."""
    own = unit(functions={"gelu": {"passes": 7}, "route": {"trees": 3, "passes": 3}})
    assert own.cycles(rows("elementwise", 1, 1024, 5, "gelu")) == 7
    assert own.cycles(rows("route", 8, 128, 7)) == 6


def test_traffic_is_compulsory() -> None:
    """Rows are read and written once, however many passes they take."""
    work = rows("norm", 16, 4096, 7, "layernorm", weight_bytes=8192, kv_bytes=10)
    found = unit().estimate(work, SETTING)
    moved = (found.weight_traffic_bytes, found.input_traffic_bytes, found.output_traffic_bytes)
    assert moved == (8202, work.input_bytes, work.output_bytes)


def test_operations_are_those_that_workloads_count() -> None:
    """The energy of a function is of exactly the operations that the workload counts for it."""
    counted = {
        **elementwise.OPS_PER_ELEMENT,
        **norm.OPS_PER_ELEMENT,
        "softmax": softmax.OPS_PER_ELEMENT,
    }
    assert {name: sum(OPERATIONS[name].values()) for name in counted} == counted


def test_energy_is_the_mix_of_operations() -> None:
    """A rotation is two multiplies and an add, each at the table's figure for fp32."""
    work = rows("elementwise", 4, 128, 3, "rope")
    found = unit().estimate(work, SETTING).energy_pj["vector"]
    assert found == pytest.approx(4 * 128 * (2 * 1.31 + 0.38))


def test_published_energy_replaces_the_table() -> None:
    """A given energy per operation needs no sourced format."""
    own = unit(given_op_energy_pj=2.0, format="posit16")
    assert own.estimate(rows("softmax", 1, 10, 5), SETTING).energy_pj["vector"] == 100.0


def test_an_unsourced_lane_format_is_refused_at_load() -> None:
    """The error names the formats that have a source."""
    with pytest.raises(ValidationError, match="no source gives the energy of posit16 lanes"):
        unit(format="posit16")


class TestContract(UnitContract):
    """The vector unit obeys the contract of every unit."""

    def unit(self) -> VectorUnit:
        return unit()

    def setting(self) -> Setting:
        return SETTING

    def works(self) -> Sequence[Work]:
        return [
            rows("softmax", 3, 1000, 5),
            rows("norm", 512, 4096, 4, "rmsnorm"),
            rows("elementwise", 7, 33, 5, "silu_mul"),
            rows("route", 64, 256, 13),
            rows("reduce", 64, 4096, 16, "weighted_sum"),
            rows("gather", 5, 4096, 0),
            rows("transfer", 1, 4096, 0),
            replace(rows("scan", 16, 4096, 6), macs=4096),
        ]

    def refused(self) -> Sequence[Work]:
        return [Work(kind) for kind in ("matmul", "conv", "attention", "collective")]

    def kernels(self) -> Sequence[KernelCall]:
        return [
            (tree_steps, (5000, 128)),
            (tree_steps, (50, 1)),
            (rows_cycles, (77, 5000, 128, 8, 2, 5, 3)),
            (rows_cycles, (77, 5000, 128, 8, 0, 3, 0)),
        ]
