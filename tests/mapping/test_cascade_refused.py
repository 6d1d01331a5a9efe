"""What a binding of a cascade may not say, and what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.errors import ConfigError, MappingError
from accelsim.mapping.cascade import evaluate_cascade, load_device, load_policy
from accelsim.workload import forward, load_model
from accelsim.workload.cascade import cascade_of
from tests.mapping.cascades import DEVICE, POLICY, PRODUCT, Bench, changed


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("array: grid", "array: gird", "no array `gird`; did you mean `grid`"),
        ("array: grid", "array: vector", "needs `mac`, which `vector` cannot do"),
        ("inner: [m, n, k]", "inner: [m, n]", "rank `k` has a tile of 16"),
        ("inner: [m, n, k]", "inner: [m, n, k, q]", "has no rank `q`"),
        ("n: rows", "n: 4", "laid over 8 PEs, `grid` has 4"),
        ("X: buffer, ", "", "`X` of `S` comes from outside or leaves"),
        ("Y: dram", "Z: dram", "has no tensor Z"),
        ("outer: {m: 4", "outer: {q: 4", "found `q`"),
    ],
)
def test_a_binding_that_does_not_fit_is_refused(
    bench: Bench, old: str, new: str, said: str
) -> None:
    """Names the Einsum and what is legal."""
    with pytest.raises(MappingError) as caught:
        bench.run(changed(old, new))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[[S, Y]]", "[[S]]", "each Einsum of the group runs once in its phases; look at Y"),
        ("[[S, Y]]", "[[S, Y, S]]", "look at S"),
        ("[[S, Y]]", "[[S, Y], [{drain: T}]]", "`T` is drained but does not run"),
        ("n: full", "n: all", "`largest` or `full` is needed"),
        ("m: 4, n: full", "m: largest, n: largest", "only one tile can be `largest`"),
        ("n: rows", "n: row", "`rows` or `columns` is needed"),
        ("Y: dram", "Y: disk", "buffer"),
    ],
)
def test_a_mistake_in_a_policy_is_found_in_the_file(
    bench: Bench, old: str, new: str, said: str
) -> None:
    """File and line, and what is legal."""
    with pytest.raises(ConfigError) as caught:
        bench.run(changed(old, new))
    assert "bound.yaml" in str(caught.value)
    assert said in str(caught.value)


def test_overlapping_tiles_are_refused(bench: Bench) -> None:
    """An image under a window has no rank of its own."""
    text = PRODUCT.replace("X[m, k] * W[k, n]", "X[m + k] * W[k, n]")
    cascade = cascade_of(load_model(bench.write("product", text)), forward(1, 1))
    device = load_device(str(bench.write("tiny", DEVICE)))
    with pytest.raises(MappingError, match=r"tensor `X` .* tiles overlap"):
        evaluate_cascade(cascade, device, load_policy(str(bench.write("bound", POLICY))))


def test_an_einsum_without_an_array_is_named(bench: Bench) -> None:
    """Nothing of a cascade is left out silently."""
    policy = changed("      Y: {array: vector, spatial: {n: columns}, inner: [m, n]}\n", "")
    with pytest.raises(MappingError, match="binds no array for Y"):
        bench.run(policy.replace("[[S, Y]]", "[[S]]"))


def test_an_operation_of_unknown_units_is_refused(bench: Bench) -> None:
    """In the device's file."""
    with pytest.raises(ConfigError, match="uses the unit `mca`; did you mean `mac`"):
        load_device(str(bench.write("tiny", DEVICE.replace("uses: {mac: 1}", "uses: {mca: 1}"))))
