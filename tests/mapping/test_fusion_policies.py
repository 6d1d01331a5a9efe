"""The fusion policies of the library: all load, and each does what its name says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accelsim import arch
from accelsim.config import library
from accelsim.errors import ConfigError, MappingError
from accelsim.mapping.fusion import (
    FusionPolicy,
    device_of,
    fuse_cascade,
    load_fusion_policy,
    statements,
)
from accelsim.nest import Storage
from accelsim.nest.fuse import FusedDevice, Fusion
from accelsim.workload import forward, load_model
from accelsim.workload.cascade import Cascade, cascade_of

NAMES = library.names("mapping/fusion")
ONE_PASS = {"flash-attention", "fusemax"}


def _cascade(name: str, length: int = 16, **shape: int) -> Cascade:
    sizes = {"h": 1, "e": 16, "f": 16} | shape
    overrides = {f"parameters.shape.{rank}": size for rank, size in sizes.items()}
    overrides |= {"dtypes.weight": "int8", "dtypes.activation": "int8"}  # type: ignore[dict-item]
    return cascade_of(load_model(name, overrides), forward(1, length))


def _device(policy: FusionPolicy, kib: float) -> FusedDevice:
    """Return a TPU-v4i with less room to fuse in."""
    made = device_of(arch.load("tpuv4i-accelforge"), policy, "int8")
    arrays = {
        name: replace(
            one,
            nodes=tuple(
                replace(node, capacity_bits=kib * 8192)
                if isinstance(node, Storage) and node.name == made.memory
                else node
                for node in one.nodes
            ),
        )
        for name, one in made.arrays.items()
    }
    return replace(made, arrays=arrays)


def _fused(name: str, kib: float = 0.5, **given: object) -> Fusion:
    policy = load_fusion_policy(name, {"accounting": "accelforge", **given})
    one_pass = name.removeprefix("tpuv4i-") in ONE_PASS
    shape = {"m0": 4, "m1": 4} if one_pass else {}
    cascade = _cascade("attention-1-pass" if one_pass else "attention-3-pass", **shape)
    return fuse_cascade(cascade, _device(policy, kib), policy)


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_of_the_library_runs_attention(name: str) -> None:
    found = _fused(name)
    assert found.gap == 0.0
    assert all(group.needed_bits <= 4096 for group in found.groups)
    assert load_fusion_policy(name).source


def test_apart_parts_wherever_it_may() -> None:
    """Each statement by itself; those between a running tensor's reader and maker together."""
    assert [len(group.names) for group in _fused("tpuv4i-apart").groups] == [1] * 6
    policy = load_fusion_policy("tpuv4i-apart", {"accounting": "accelforge"})
    cascade = _cascade("attention-1-pass", m0=4, m1=4)
    found = fuse_cascade(cascade, _device(policy, 8.0), policy)
    groups = [group.names for group in found.groups]
    tied = next(group for group in groups if "RD" in group)
    assert {"SPD", "SLD", "RD"} <= set(tied)
    assert max(map(len, groups)) < len(cascade.einsums)


def test_flat_loops_over_no_key_and_flash_over_parts_of_them() -> None:
    flat, flash = _fused("tpuv4i-flat"), _fused("tpuv4i-flash-attention")
    assert {loop.dim for group in flat.groups for loop in group.loops} == {"p"}
    assert "m1" in {loop.dim for loop in flash.groups[0].loops}
    assert len(flat.groups) == len(flash.groups) == 1


def test_free_is_never_worse_than_a_policy_on_the_same_cascade() -> None:
    free = _fused("tpuv4i-free").energy_pj
    assert free <= min(_fused(f"tpuv4i-{name}").energy_pj for name in ("apart", "flat"))


def test_fusemax_runs_both_arrays_at_the_same_time() -> None:
    """The time is that of the busier one; an exponential is six multiply-adds of an array."""
    cascade = _cascade("attention-1-pass", m0=4, m1=4)
    on = {
        name: {one.name: one for one in statements(cascade, load_fusion_policy(name))}
        for name in ("fusemax", "tpuv4i-fusemax")
    }
    assert (on["fusemax"]["SLN"].array, on["fusemax"]["SLN"].point_cycles) == ("array", 7.0)
    assert on["tpuv4i-fusemax"]["SLNV"].array == "array"
    assert on["tpuv4i-fusemax"]["SLN"].array == "vector"
    together = _fused("tpuv4i-fusemax")
    one_by_one = _fused("tpuv4i-fusemax", together=False)
    assert together.latency_s < one_by_one.latency_s


def test_no_memory_named_is_the_one_next_to_the_outermost() -> None:
    made = device_of(arch.load("tpuv4i-accelforge"), load_fusion_policy("flat"), "int8")
    assert made.memory == "GlobalBuffer"


def test_what_does_not_fit_says_by_how_much() -> None:
    """A row of 16 scores and one of exponentials for one query, and a maximum: 33 bytes."""
    with pytest.raises(MappingError, match=r"needs 33 B in `GlobalBuffer`, has 16 B; short by 17"):
        _fused("flat", 16 / 1024)
    with pytest.raises(ConfigError, match="has none of `kind: spatial`"):
        device_of(arch.load("h100-sxm"), load_fusion_policy("flat"), "int8")
    with pytest.raises(ConfigError, match="no accounting `accelfrge`; did you mean `accelforge`"):
        load_fusion_policy("flat", {"accounting": "accelfrge"})
