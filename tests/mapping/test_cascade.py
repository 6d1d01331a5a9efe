"""Cascades bound to several arrays: counts by hand, laws that hold, and the shipped files."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.config import load_spec
from accelsim.config.library import library_root
from accelsim.cost._sram_model import sram_macro
from accelsim.errors import InfeasibleError
from accelsim.mapping._cascade_nest import Loop, fetches
from accelsim.mapping.cascade import (
    CascadePolicy,
    evaluate_cascade,
    load_device,
    load_policy,
)
from accelsim.workload import forward, load_model
from accelsim.workload.cascade import cascade_of
from tests.mapping.cascades import DEVICE, POLICY, PRODUCT, Bench, changed


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# ---------------------------------------------------------------- counts by hand


def test_cycles_and_use_of_each_array(bench: Bench) -> None:
    """8 x 4 x 16 products on 4 PEs are 128 cycles; 32 exponentials on 4 lanes, 2 each, are 16."""
    found = bench.run()
    product, vector = found.groups[0].einsums
    assert (product.cycles, vector.cycles) == (128, 16)
    assert found.latency_s == pytest.approx(448 / 1e9)  # bytes of X, W and Y, which take longer
    assert found.utilisation["grid"] == pytest.approx(128 / 448)


def test_traffic_of_dram_and_buffer(bench: Bench) -> None:
    """X and W come in once, Y leaves once; in the tile X returns for each pair of columns of W."""
    found = bench.run()
    x, w, y = 8 * 16 * 2, 16 * 4 * 2, 8 * 4 * 2
    assert found.dram_bytes == x + w + y
    group = found.groups[0]
    # Two tiles of m, in each two steps of m and of n: X for each of 2 steps of n, W for each of 4
    # pairs of rows.
    assert group.buffer.reads == 2 * x + 4 * w
    assert group.buffer.writes == x + w


def test_energy_is_the_sum_of_what_is_counted(bench: Bench) -> None:
    """By component, from counts made by hand."""
    found = bench.run()
    macs = 8 * 4 * 16
    assert found.energy_pj["grid.mac"] == 3 * macs
    assert found.energy_pj["vector.mac"] == 3 * 6 * 32
    assert found.energy_pj["dram"] == 8 * found.dram_bytes
    rows = (found.groups[0].buffer.reads / 4, found.groups[0].buffer.writes / 4)
    assert found.energy_pj["buffer"] == pytest.approx(7 * rows[0] + 11 * rows[1])
    # Two operands and the last sum, but for the first of 16; each point writes its sum, and both
    # operands are new at every step in all four PEs.
    reads, writes = macs * (3 - 1 / 16), macs + 2 * macs
    assert found.energy_pj["grid.registers"] == pytest.approx(1 * reads + 2 * writes)
    assert found.total_pj == pytest.approx(sum(found.energy_pj.values()))


def test_area_is_that_of_all_pes_and_the_buffer(bench: Bench) -> None:
    """Four PEs of 15, and 100."""
    assert load_device(str(bench.write("tiny", DEVICE))).area_um2 == 4 * 15 + 100


def test_phases_follow_each_other_and_share_time_within(bench: Bench) -> None:
    """A fast DRAM shows the arrays' time: the longer in one phase, the sum in two."""
    fast = {"dram.bandwidth": 1e15}
    together = bench.run(device=fast).latency_s
    apart = bench.run(changed("[[S, Y]]", "[[S], [Y]]"), fast).latency_s
    assert together == pytest.approx(128e-9)
    assert apart == pytest.approx(144e-9)


def test_draining_waits_one_cycle_for_each_pe_of_the_reduction(bench: Bench) -> None:
    """Sums over 2 rows of PEs: 2 cycles after each of the 8 * 4 / 2 * 16 / 2 steps."""
    policy = changed("spatial: {m: columns, n: rows}", "spatial: {m: columns, k: rows}")
    fast = {"dram.bandwidth": 1e15}
    plain = bench.run(policy, fast).latency_s
    drained = bench.run(policy.replace("[[S, Y]]", "[[S, Y], [{drain: S}]]"), fast).latency_s
    assert drained - plain == pytest.approx(2 * 128e-9)


def test_dram_beside_or_after_the_arrays(bench: Bench) -> None:
    """Overlapped it is the longer, added the sum."""
    policy = changed("    einsums:", "    dram: added\n    einsums:")
    group = bench.run(policy).groups[0]
    assert group.latency_s == pytest.approx(group.compute_s + group.dram_s)
    group = bench.run().groups[0]
    assert group.latency_s == max(group.compute_s, group.dram_s)


def test_operations_of_a_pipeline_count_once(bench: Bench) -> None:
    """The slowest stage counts."""
    text = PRODUCT.replace("exp(S[m, n])", "exp(S[m, n] - B[n])")
    device = DEVICE.replace("{exp:", "{sub: {uses: {mac: 1}}, exp:")
    cascade = cascade_of(load_model(bench.write("product", text)), forward(1, 1))
    made = load_device(str(bench.write("tiny", device)))
    policy = changed("Y: dram", "Y: dram, B: buffer")
    cycles = []
    for line in ("inner: [m, n]}", "inner: [m, n], pipelined: true}"):
        bound = load_policy(str(bench.write("bound", policy.replace("inner: [m, n]}", line))))
        cycles.append(evaluate_cascade(cascade, made, bound).groups[0].einsums[1].cycles)
    assert cycles == [24, 16]


def test_what_repeats_counts_as_often(bench: Bench) -> None:
    """Three times the steps with weights of their own: three times all."""
    text = PRODUCT.replace("n: 4", "n: 16").replace(
        'einsums: ["S[m, n] = X[m, k] * W[k, n]", "Y[m, n] = exp(S[m, n])"]',
        "einsums:\n    - repeat: TIMES\n      carry: {X: Y}\n      steps:\n"
        '        - "S[m, n] = X[m, k] * W[k, n]"\n        - "Y[m, n] = exp(S[m, n])"',
    )
    assert "TIMES" in text
    device = load_device(str(bench.write("tiny", DEVICE)))
    policy = load_policy(str(bench.write("bound", POLICY)))
    once, thrice = (
        evaluate_cascade(
            cascade_of(
                load_model(bench.write("product", text.replace("TIMES", str(n)))), forward(1, 1)
            ),
            device,
            policy,
        )
        for n in (1, 3)
    )
    assert thrice.latency_s == pytest.approx(3 * once.latency_s)
    assert thrice.dram_bytes == pytest.approx(3 * once.dram_bytes)
    assert thrice.total_pj == pytest.approx(3 * once.total_pj)


# ---------------------------------------------------------------- tiles


def test_the_largest_tile_that_fits_is_taken(bench: Bench) -> None:
    """W takes 128 bytes, 32 more for each row of X; steps are the 2 columns of the array."""
    policy = changed("m: 4", "m: largest")
    for capacity, tile in ((1024, 8), (300, 4), (200, 2)):
        found = bench.run(policy, {"buffer.capacity": capacity})
        assert found.groups[0].tiling.tiles["m"] == tile


def test_what_does_not_fit_is_refused_with_the_shortfall(bench: Bench) -> None:
    """Resource, need, capacity and the tiles that need it."""
    with pytest.raises(InfeasibleError, match="buffer, for group `all`: needs") as caught:
        bench.run(device={"buffer.capacity": 200})
    assert (caught.value.needed, caught.value.available) == (256, 200)
    assert "m = 4" in str(caught.value)


def test_what_spills_moves_through_dram_at_each_access(bench: Bench) -> None:
    """The share that does not fit; its first load is one of the accesses."""
    policy = changed("    einsums:", "    overflow: spill\n    einsums:")
    whole, found = bench.run(policy), bench.run(policy, {"buffer.capacity": 192})
    share = found.groups[0].tiling.spilled
    assert share == pytest.approx(1 - 192 / 256)
    loads = 8 * 16 * 2 + 16 * 4 * 2
    accesses = whole.groups[0].buffer.reads
    assert found.dram_bytes == pytest.approx(whole.dram_bytes + share * (accesses - loads))


@given(
    trips=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    mine=st.sets(st.integers(0, 3)),
)
@settings(max_examples=200, deadline=None)
def test_fetches_are_those_of_a_walk_through_the_loops(trips: list[int], mine: set[int]) -> None:
    """A tensor is fetched whenever its tile differs from the last one."""
    loops = tuple(Loop(str(i), n) for i, n in enumerate(trips))
    ranks = [i for i in sorted(mine) if i < len(trips)]
    walked, last = 0, None
    for point in itertools.product(*(range(n) for n in trips)):
        tile = tuple(point[i] for i in ranks)
        walked += tile != last
        last = tile
    tiles = math.prod(trips[i] for i in ranks)
    assert fetches(loops, [str(i) for i in ranks]) * tiles == walked


# ---------------------------------------------------------------- shipped files

POLICIES = sorted((library_root() / "mapping" / "components").glob("cascade-*.yaml"))


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.stem)
def test_shipped_policies_bind_their_model(file: Path) -> None:
    """On the hardware of their paper, at a size that fits; every PE's registers count."""
    policy = load_spec(file, CascadePolicy, kind="mapping")
    assert policy.name == file.stem
    assert policy.registers == "every_pe"
    arrays = {one.array for group in policy.groups.values() for one in group.einsums.values()}
    name = "fusemax" if "fusemax" in file.stem else "flat"
    device = load_device(f"spatial/components/{name}")
    assert arrays <= set(device.arrays)
    cascade = cascade_of(policy.model, forward(2, 4096))
    found = evaluate_cascade(cascade, device, policy)
    assert found.latency_s > 0
    assert all(0 <= part <= 1 for part in found.utilisation.values())
    operations = sum(count for one in found.groups for count in _units(one.einsums))
    assert operations >= sum(cascade.operations().values())


def _units(einsums: Any) -> list[float]:
    return [uses for one in einsums for uses in one.units.values()]


def test_a_larger_buffer_never_moves_more() -> None:
    """FuseMax at 64K tokens, where keys and values return for every tile of queries."""
    cascade = cascade_of("attention-1-pass", forward(1, 65536))
    policy = load_policy("components/cascade-fusemax")
    moved = []
    for mebibytes in (1, 2, 4, 8, 16, 32, 64):
        device = load_device("spatial/components/fusemax", {"buffer.capacity": f"{mebibytes} MiB"})
        moved.append(evaluate_cascade(cascade, device, policy).dram_bytes)
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > moved[-1]


def test_registers_of_one_pe_count_one_part_of_all() -> None:
    """The accounting of the published totals: 65,536 times less."""
    cascade = cascade_of("attention-1-pass", forward(1, 4096))
    device = load_device("spatial/components/fusemax")
    every, one = (
        evaluate_cascade(cascade, device, load_policy("components/cascade-fusemax", change))
        for change in ({}, {"registers": "one_pe"})
    )
    whole = every.energy_pj["array_2d.registers"]
    assert one.energy_pj["array_2d.registers"] == pytest.approx(whole / 65536)
    assert whole > 0.1 * every.total_pj


@pytest.mark.parametrize("name", ["fusemax", "flat"])
def test_calibrated_energy_of_buffers_is_that_of_a_macro_of_their_size(name: str) -> None:
    """The scalars are set on published totals, the macro is fitted to CACTI and knows neither."""
    buffer = load_device(f"spatial/components/{name}").buffer
    one, four = (
        sram_macro(buffer.capacity, buffer.row_bits, 45.0, ports=ports) for ports in (1, 4)
    )
    calibrated = buffer.energy_scale * (buffer.read_pj + buffer.write_pj)
    assert one.read_pj + one.write_pj < calibrated < four.read_pj + four.write_pj
