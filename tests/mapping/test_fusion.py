"""From cascades and policies to fused groups: FLAT, one-pass attention, vector units, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accelsim import arch, mapping
from accelsim.cost import Setting
from accelsim.cost.spatial import SpatialArray
from accelsim.errors import ConfigError, MappingError
from accelsim.mapping.fusion import (
    FusionPolicy,
    fuse_cascade,
    fused_device,
    load_fusion_policy,
    statements,
)
from accelsim.nest import Fanout, Hierarchy, Storage, accounting
from accelsim.nest.fuse import FusedDevice, Fusion
from accelsim.nest.fuse._chain import Chain, depths
from accelsim.workload import forward, load_model
from accelsim.workload.cascade import Cascade, cascade_of

ROLES = frozenset({"input", "weight", "output"})
RULES = accounting("accelforge")


def _policy(**given: Any) -> FusionPolicy:
    base = {"name": "test", "memory": "Buffer", "arrays": {"mac": "array", "default": "vector"}}
    return FusionPolicy.model_validate(base | given)


def _device(kib: float, *, together: bool = False) -> FusedDevice:
    outer = (
        Storage("DRAM", keep=ROLES, read_pj_per_bit=7.0, write_pj_per_bit=7.0,
                read_bits_per_cycle=512.0, write_bits_per_cycle=512.0, shared_port=True),
        Storage("Buffer", capacity_bits=kib * 8192, may_keep=ROLES, read_pj_per_bit=1.0,
                write_pj_per_bit=1.0, read_bits_per_cycle=8192.0, write_bits_per_cycle=8192.0),
    )  # fmt: skip
    array = Hierarchy((*outer, Fanout("PEs", 64, ROLES)), mac_pj=0.1)
    vector = Hierarchy((*outer, Fanout("lanes", 16, frozenset({"input"}))), mac_pj=0.1)
    return FusedDevice({"array": array, "vector": vector}, "Buffer", together)


def _cascade(name: str, length: int = 64, **shape: int) -> Cascade:
    sizes = {"h": 1, "e": 16, "f": 16} | shape
    overrides = {f"parameters.shape.{rank}": size for rank, size in sizes.items()}
    return cascade_of(load_model(name, overrides), forward(1, length))


def _all(cascade: Cascade) -> list[list[str]]:
    return [[one.name for one in cascade.einsums]]


def _loops(found: Fusion) -> list[str]:
    return [loop.dim for loop in found.groups[0].loops]


def test_whole_rows_of_scores_stay_under_a_loop_over_queries() -> None:
    """FLAT: one group, shared loops over queries alone; keys are not divided."""
    cascade = _cascade("attention-3-pass")
    flat = _policy(groups=_all(cascade), shared=["b", "h", "p"])
    found = fuse_cascade(cascade, _device(8), flat, rules=RULES)
    assert _loops(found) == ["p"]
    rows = next(one for one in found.groups[0].residents if one.tensor == "QK")
    assert rows.bits == found.groups[0].loops[0].tile * 64 * 16
    apart = _policy(groups=[[one.name] for one in cascade.einsums])
    assert found.moved_bits < fuse_cascade(cascade, _device(8), apart, rules=RULES).moved_bits


def test_one_pass_runs_where_no_whole_row_fits() -> None:
    """FlashAttention: 2 KiB hold no row of 512 scores for many queries, but parts of 16 keys."""
    sizes = {"m0": 16, "m1": 4}
    one_pass = _cascade("attention-1-pass", **sizes)
    policy = _policy(groups=_all(one_pass), shared=["p", "m1"], loops=2, tiles={"p": [8]})
    found = fuse_cascade(one_pass, _device(4), policy, rules=RULES)
    group = found.groups[0]
    assert _loops(found) == ["p", "m1"]
    depth = {one.name: one.depth for one in group.statements}
    assert depth.pop("AV") == 1
    assert set(depth.values()) == {2}
    state = {one.tensor: one for one in group.residents}["RNV"]
    assert state.bits == 2 * 8 * 16 * 16  # before and after a step: 8 queries of 16 values, fp16
    assert (state.first, state.last) == (0, len(group.statements) - 1)


def test_a_running_state_may_not_be_parted_from_what_it_reads() -> None:
    one_pass = _cascade("attention-1-pass", m0=16, m1=4)
    groups = [
        [one.name for one in one_pass.einsums][:8],
        [one.name for one in one_pass.einsums][8:],
    ]
    found = fuse_cascade(one_pass, _device(64), _policy(groups=groups, loops=1), rules=RULES)
    assert [len(group.names) for group in found.groups] == [8, 4]
    parted = [group[:] for group in groups]
    parted[0], parted[1] = groups[0][:6], groups[0][6:] + groups[1]
    with pytest.raises(MappingError, match="running tensor goes back"):
        fuse_cascade(one_pass, _device(64), _policy(groups=parted), rules=RULES)


def test_a_running_tensor_and_those_who_read_it_stay_inside_its_loop() -> None:
    """Outside, all steps would be read before one is made."""
    one_pass = _cascade("attention-1-pass", m0=16, m1=4)
    whole = Chain.of(statements(one_pass, _policy()), one_pass.outputs)
    last = len(whole.statements)
    inside = depths(whole, 0, last, ("p", "m1"))
    assert inside is not None
    assert set(inside[:-1]) == {2}
    assert depths(whole, 0, last, ("m0", "m1")) is None


def test_arrays_that_work_together_take_the_time_of_the_slower() -> None:
    cascade = _cascade("attention-3-pass")
    policy = _policy(groups=_all(cascade), shared=["p"], tiles={"p": [16]})
    one, both = (
        fuse_cascade(cascade, _device(64, together=t), policy, rules=RULES) for t in (False, True)
    )
    busy = {"array": 0.0, "vector": 0.0}
    for made, ran in zip(statements(cascade, policy), both.groups[0].statements, strict=True):
        busy[made.array] += ran.cycles
    assert both.groups[0].cycles >= max(busy.values())
    assert both.latency_s < one.latency_s


def test_operations_take_the_cycles_and_energy_that_a_policy_states() -> None:
    cascade = _cascade("attention-3-pass")
    table = {"vector": {"sub": {"cycles": 1, "pj": 1}, "exp": {"cycles": 6, "pj": 5}}}
    made = {one.name: one for one in statements(cascade, _policy(operations=table))}
    assert (made["SN"].point_cycles, made["SN"].point_pj) == (7.0, 6.0)
    assert (made["GM"].point_cycles, made["GM"].point_pj) == (1.0, None)
    table["vector"]["sub"].pop("pj")
    with pytest.raises(MappingError, match="all of them or of none"):
        statements(cascade, _policy(operations=table))


def test_roles_follow_from_place_unless_stated() -> None:
    cascade = _cascade("attention-3-pass")
    made = {one.name: one for one in statements(cascade, _policy())}
    assert [one.role for one in made["QK"].accesses] == ["input", "weight", "output"]
    assert [one.role for one in made["SN"].accesses] == ["input", "input", "output"]
    turned = _policy(roles={"QK": {"Q": "weight", "K": "input"}})
    made = {one.name: one for one in statements(cascade, turned)}
    assert [one.role for one in made["QK"].accesses] == ["weight", "input", "output"]


def test_what_a_policy_names_wrongly_is_refused() -> None:
    cascade = _cascade("attention-3-pass")
    with pytest.raises(MappingError, match="no rank `q`"):
        fuse_cascade(cascade, _device(64), _policy(shared=["q"]))
    with pytest.raises(MappingError, match="no Einsum `QQ`"):
        fuse_cascade(cascade, _device(64), _policy(roles={"QQ": {}}))
    with pytest.raises(MappingError, match="no array for `GM`"):
        statements(cascade, _policy(arrays={"mac": "array"}))


def test_a_policy_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text("name: rows\nmemory: Buffer\narrays: {default: array}\nshared: [p]\n")
    found = load_fusion_policy(path)
    assert found.limits().shared == frozenset({"p"})
    path.write_text("name: rows\nmemory: Buffer\narray: {default: array}\n")
    with pytest.raises(ConfigError, match="arrays"):
        load_fusion_policy(path)


def test_a_spatial_array_of_the_library_fuses_with_a_vector_unit() -> None:
    architecture = arch.load("tpuv4i-accelforge")
    array = next(u for u in architecture.device.units.values() if isinstance(u, SpatialArray))
    setting = Setting(
        architecture.device.memories[array.memory], None, architecture.technology_nm,
        nests=mapping.load("nests-fastest").nests,
    )  # fmt: skip
    vectors = {"vector": {"below": "LocalBuffer", "per_cycle": 128}}
    policy = _policy(memory="GlobalBuffer", vectors=vectors)
    made = fused_device(array, setting, policy, "int8")
    assert made.fusing.capacity_bits == 128 * 2**20 * 8
    assert made.unrolls_for["reuse_input"] == frozenset({"input"})
    assert [node.name for node in made.arrays["vector"].nodes][-1] == "LocalBuffer"
    with pytest.raises(ConfigError, match="no level"):
        fused_device(array, setting, _policy(memory="Buffer"), "int8")
    levels = [
        level.model_copy(update={"dims": ["n"]}) if level.name == "Z" else level
        for level in array.levels
    ]
    named = array.model_copy(update={"levels": levels})
    with pytest.raises(ConfigError, match="`Z` names dims of a product"):
        fused_device(named, setting, policy, "int8")
