"""Where things contend the event view says by how much, and for what."""

from __future__ import annotations

import math

import pytest

from accelsim.errors import ConfigError
from accelsim.lower.nest_tasks import Beside, contention
from accelsim.nest import Fanout, Hierarchy, Storage, evaluate, matmul, parse
from tests.lower.nest_cases import OUTSIDE, Case


def streamed(
    *, shared_port: bool = False, read: float = 8.0, buffer_read: float = math.inf
) -> Case:
    """Return a product of which each tile takes 4 cycles to load, 6 to compute, 4 to drain."""
    memories = Hierarchy((
        Storage("DRAM", keep=OUTSIDE, read_bits_per_cycle=read, write_bits_per_cycle=8.0,
                shared_port=shared_port),
        Storage("Buffer", keep=frozenset({"input", "output"}), buffers=2,
                read_bits_per_cycle=buffer_read),
    ))  # fmt: skip
    nest = parse({"DRAM": {"m": 20}, "Buffer": {"k": 6}}, memories)
    return matmul(20, 1, 6, bits=(32 / 6, 0, 32)), memories, nest


def test_a_shared_port_makes_a_tile_as_long_as_its_load_and_drain() -> None:
    apart, together = contention(*streamed()), contention(*streamed(shared_port=True))
    assert apart.event_s * 1e9 == pytest.approx(4 + 20 * 6 + 4)
    assert apart.shared == {}
    assert apart.busiest == "array"
    # Loads and drains take turns, but for 2 cycles beside the first tile and 2 beside the last.
    assert together.event_s * 1e9 == pytest.approx(20 * 8 + 2 + 2)
    assert together.shared == {"DRAM port": ("input to Buffer", "output from Buffer")}
    assert together.busiest == "DRAM port"
    assert together.busy["DRAM port"] == pytest.approx(160 / 164)
    assert together.analytic_s == evaluate(*streamed(shared_port=True)).latency_s


def test_contention_is_none_where_each_port_serves_one_stream() -> None:
    found = contention(*streamed())
    assert found.excess == pytest.approx(0.0, abs=1e-9)


def test_arrays_on_one_memory_wait_for_each_other() -> None:
    alone, two = contention(*streamed()), contention(*streamed(), copies=2)
    four = contention(*streamed(), copies=4)
    assert alone.event_s * 1e9 == pytest.approx(128)
    # Two ask for 8 of every 6 cycles, four for 16.
    assert 20 * 8 <= two.event_s * 1e9 <= 20 * 8 + 4 + 6 + 2 * 4
    assert 20 * 16 <= four.event_s * 1e9 <= 20 * 16 + 4 + 6 + 4 * 4
    assert four.excess == pytest.approx(four.event_s / 128e-9 - 1)
    assert {"array", "array 2"} <= set(two.busy)
    apart = contention(*streamed(read=math.inf), copies=4, shared="Buffer")
    assert apart.event_s * 1e9 >= 20 * 16  # all drains go out through one port


def test_memories_inside_the_shared_one_are_each_copys_own() -> None:
    case = streamed(read=math.inf, buffer_read=32.0)
    own, common = contention(*case, copies=2), contention(*case, copies=2, shared="Buffer")
    assert "Buffer read port 2" in own.busy
    assert "Buffer read port 2" not in common.busy
    assert common.busy["Buffer read port"] > own.busy["Buffer read port"]


def test_another_units_stream_takes_its_share_of_a_port() -> None:
    free = contention(*streamed())
    vector = Beside("vector", "DRAM", bits=20 * 16.0, cycles=120)  # 2 of every 6 cycles
    beside = contention(*streamed(), beside=[vector])
    assert beside.event_s == pytest.approx(free.event_s, rel=0.05)  # 4 + 2 of 6 just fit
    assert beside.shared["DRAM read port"] == ("input to Buffer", "vector")
    heavy = Beside("vector", "DRAM", bits=20 * 48.0, cycles=120)  # 6 of every 6
    slowed = contention(*streamed(), beside=[heavy])
    assert slowed.event_s > free.event_s * 1.4
    assert slowed.excess > 0.4
    writes = Beside("vector", "DRAM", bits=20 * 48.0, cycles=120, writes=True)
    assert contention(*streamed(), beside=[writes]).shared.keys() == {"DRAM write port"}


def test_loads_of_two_tensors_share_a_port() -> None:
    memories = Hierarchy((
        Storage("DRAM", keep=OUTSIDE, read_bits_per_cycle=8.0),
        Storage("Buffer", keep=frozenset({"input", "weight"}), buffers=2),
        Fanout("PEs", 4, frozenset({"input"})),
    ))  # fmt: skip
    nest = parse({"DRAM": {"m": 5, "n": 5}, "Buffer": {"k": 3}, "PEs": {"n": 4}}, memories)
    found = contention(matmul(5, 20, 3, bits=(8, 8, 0)), memories, nest)
    assert found.shared == {"DRAM read port": ("input to Buffer", "weight to Buffer")}
    # The array is idle for most of the time that 5 x 3 and 25 x 12 words take to come.
    assert found.busy["DRAM read port"] > 0.98
    assert found.event_s * 1e9 == pytest.approx(5 * 3 + 25 * 12 + 3, abs=1)


def test_both_engines_give_one_answer() -> None:
    case = streamed(shared_port=True)
    fast, slow = contention(*case, copies=2), contention(*case, copies=2, engine="simpy")
    assert fast == slow


@pytest.mark.parametrize("level", ["DRUM", "PEs"])
def test_an_unknown_memory_is_refused(level: str) -> None:
    memories = Hierarchy((Storage("DRAM", keep=OUTSIDE), Fanout("PEs", 4)))
    case = matmul(4, 4, 4), memories, parse({"DRAM": {"m": 4, "n": 4, "k": 4}}, memories)
    with pytest.raises(ConfigError, match=level):
        contention(*case, shared=level)
    with pytest.raises(ConfigError, match=level):
        contention(*case, beside=[Beside("vector", level, 8.0, 8.0)])


@pytest.mark.checkout
def test_the_benchmark_keeps_within_the_bound() -> None:
    from benchmarks.bench_nest_events import agreement, busy

    found = [*agreement(1, 4), *busy(1, 4)]
    assert found[2].values.max() <= 1.0
    assert {spread.row.count("|") for spread in found} == {8}
