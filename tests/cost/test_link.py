"""Links: collectives by their laws, and against measured A100 all-reduces."""

from __future__ import annotations

import csv
import gzip
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.config import library, load_resolved, load_spec
from accelsim.cost.link import PATTERNS, AlphaBetaLink, Between, course
from accelsim.errors import UnknownNameError
from tests.reference import reference_file

FRAGMENTS = sorted(
    path.stem
    for path in (library.library_root() / "arch" / "components").glob("*.yaml")
    if load_resolved(path).data.get("kind") == "link"
)
patterns = st.sampled_from(sorted(PATTERNS))
MEASURED = {
    "allreduce": "all_reduce",
    "allgather": "all_gather",
    "reducescatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "send_recv": "transfer",
}


def fragment(name: str) -> AlphaBetaLink:
    return load_spec(library.find("arch", f"components/{name}"), AlphaBetaLink)


def link(**changes: object) -> AlphaBetaLink:
    fields = {
        "source": "test", "bandwidth_bytes_per_s": 100e9, "energy_pj_per_bit": 1.0,
        "protocols": [{"start_s": 0.0, "latency_s": 1e-6}],
    }  # fmt: skip
    return AlphaBetaLink.model_validate(fields | changes)


def test_ring_all_reduce_is_the_textbook_formula() -> None:
    """2 (P - 1) (alpha + S / (P B))."""
    assert link().collective_ps("all_reduce", 8_000_000, 8) == 14 * (1_000_000 + 10_000_000)


@given(size=st.integers(1, 10**9), devices=st.integers(2, 64))
def test_an_all_reduce_is_its_two_halves(size: int, devices: int) -> None:
    """Reduce-scatter then all-gather take as long as all-reduce where nothing starts twice."""
    both = sum(link().collective_ps(p, size, devices) for p in ("reduce_scatter", "all_gather"))
    assert link().collective_ps("all_reduce", size, devices) == pytest.approx(both, abs=2)


@given(size=st.integers(1, 10**9), devices=st.integers(2, 64))
def test_direct_takes_fewer_steps(size: int, devices: int) -> None:
    """Sending to all at once saves latencies, never bytes."""
    direct = link(algorithm="direct")
    saved = link().collective_ps("all_reduce", size, devices) - direct.collective_ps(
        "all_reduce", size, devices
    )
    assert saved == pytest.approx((2 * (devices - 1) - 2) * 1_000_000, abs=2)
    same = [one.collective_bytes("all_reduce", size, devices) for one in (link(), direct)]
    assert same[0] == same[1]


@pytest.mark.parametrize("name", FRAGMENTS)
@given(
    pattern=patterns, size=st.integers(1, 10**9), more=st.integers(0, 10**8),
    devices=st.integers(2, 16),
)  # fmt: skip
def test_time_grows_with_size_and_devices(
    name: str, pattern: str, size: int, more: int, devices: int
) -> None:
    """More bytes or more devices never take less time."""
    one = fragment(name)
    base = one.collective_ps(pattern, size, devices)
    assert one.collective_ps(pattern, size + more, devices) >= base
    assert one.collective_ps(pattern, size, devices + 1) >= base


@pytest.mark.parametrize("name", FRAGMENTS)
@given(pattern=patterns, size=st.integers(1, 10**9), devices=st.integers(2, 16))
def test_no_collective_beats_the_wires(name: str, pattern: str, size: int, devices: int) -> None:
    """A device cannot send its bytes faster than its raw bandwidth."""
    one = fragment(name)
    sent = one.collective_bytes(pattern, size, devices)
    taken_s = one.collective_ps(pattern, size, devices) / 1e12
    assert taken_s >= (sent - 1) / one.bandwidth_bytes_per_s * (1 - 1e-9)


def test_one_device_has_nothing_to_say() -> None:
    """A collective of one device is free, and so is an empty one."""
    assert link().collective_ps("all_reduce", 10**6, 1) == 0
    assert link().collective_bytes("all_reduce", 10**6, 1) == 0
    assert link().collective_ps("all_reduce", 0, 8) == 0


def test_all_to_all_crosses_more_of_a_ring() -> None:
    """On a ring of eight, parts travel two hops on average; between pairs one."""
    ring = link(topology="ring").collective_bytes("all_to_all", 8000, 8)
    pairs = link().collective_bytes("all_to_all", 8000, 8)
    assert (ring, pairs) == (16000, 7000)


def test_the_fastest_protocol_is_taken() -> None:
    """Short messages go by the quick protocol, long ones by the wide one."""
    quick = {"start_s": 1e-6, "latency_s": 1e-6, "efficiency": 0.25}
    wide = {"start_s": 50e-6, "latency_s": 1e-6, "efficiency": 1.0}
    both = link(protocols=[quick, wide])
    for size in (1000, 10**9):
        alone = [link(protocols=[p]).collective_ps("all_reduce", size, 4) for p in (quick, wide)]
        assert both.collective_ps("all_reduce", size, 4) == min(alone)


def test_a_protocol_serves_only_its_patterns() -> None:
    """A protocol for transfers does not speed up a reduction; none may stay unserved."""
    slow = {"start_s": 1e-3, "latency_s": 0.0}
    quick = {"start_s": 0.0, "latency_s": 0.0, "patterns": ["transfer"]}
    both = link(protocols=[slow, quick])
    assert both.collective_ps("transfer", 1000, 2) < 10**6
    assert both.collective_ps("all_reduce", 1000, 2) > 10**9
    with pytest.raises(ValidationError, match="all_reduce"):
        link(protocols=[quick])


def test_unknown_patterns_and_impossible_algorithms_are_refused() -> None:
    """A pattern names its nearest spelling; a ring cannot send straight to all."""
    with pytest.raises(UnknownNameError, match="all_reduce"):
        link().collective_ps("allreduce", 1, 2)
    with pytest.raises(ValidationError, match="fully_connected"):
        link(topology="ring", algorithm="direct")


def test_one_shot_reads_every_array_whole() -> None:
    """One step of 1 us, and seven arrays of 1 MB at 100 GB/s; halves have nothing to shorten."""
    one = link(algorithm="one_shot")
    assert one.collective_ps("all_reduce", 1_000_000, 8) == 1_000_000 + 70_000_000
    direct = link(algorithm="direct")
    same = [x.collective_ps("all_gather", 10**6, 8) for x in (one, direct)]
    assert same[0] == same[1]


def test_one_shot_is_for_short_messages() -> None:
    """With both at hand, few bytes go in one shot and many in two."""
    quick = {"start_s": 0.0, "latency_s": 5e-6, "algorithm": "one_shot"}
    wide = {"start_s": 0.0, "latency_s": 5e-6, "algorithm": "direct"}
    both = link(protocols=[quick, wide])
    assert both.collective_ps("all_reduce", 800, 8) == 5_000_000 + 7 * 8000
    assert both.collective_ps("all_reduce", 8 * 10**8, 8) == 10_000_000 + 14 * 10**9


def test_a_device_s_own_part_costs_its_copy() -> None:
    """S / (P L) more for what is divided, nothing for a transfer."""
    plain, copying = link(), link(local_bytes_per_s=200e9)
    for pattern, more in (("all_gather", 10_000_000), ("transfer", 0)):
        both = [one.collective_ps(pattern, 8_000_000, 4) for one in (plain, copying)]
        assert both[1] - both[0] == more
    with pytest.raises(ValidationError, match="local_bytes_per_s"):
        link(local_bytes_per_s=50e9)


def test_a_node_s_way_out_bounds_a_ring() -> None:
    """16 devices in nodes of 8: 28 steps within, 2 longer ones between, bytes at the slower."""
    nodes = link(
        between={"group_devices": 8, "bandwidth_bytes_per_s": 50e9, "latency_s": 4e-6}
    ).collective_ps
    within = link().collective_ps
    assert nodes("all_reduce", 10**6, 8) == within("all_reduce", 10**6, 8)
    assert nodes("all_reduce", 16 * 10**6, 16) == 30_000_000 + 2 * 4_000_000 + 30 * 20_000_000


def test_straight_sending_shares_the_way_out() -> None:
    """All-to-all of 4 devices in 2 nodes: 2 x 2 x S/4 leave a node through its one port."""
    way = course("all_to_all", 4, "direct", 2)
    assert (way.steps, way.crossings, way.sent, way.crossed) == (1, 1, 0.75, 1.0)


@given(groups=st.integers(2, 64))
def test_a_tree_crosses_in_logarithmic_steps(groups: int) -> None:
    """2 log2 of the nodes instead of 2 (N - 1), and 2 S bytes instead of 2 S (P - 1) / P."""
    ring, tree = (course("all_reduce", 8 * groups, a, 8) for a in ("ring", "tree"))
    assert ring.crossings == 2 * (groups - 1)
    assert 2 ** (tree.crossings // 2) >= groups > 2 ** (tree.crossings // 2 - 1)
    assert tree.steps <= ring.steps
    assert tree.sent >= ring.sent


@pytest.mark.parametrize("name", ["infiniband_edr", "infiniband_hdr", "infiniband_ndr"])
def test_a_network_fragment_joins_nodes(name: str) -> None:
    """Two nodes of eight over one port take longer than one node of 16, by the port's rate."""
    path = library.find("arch", f"components/{name}")
    data = load_resolved(path).data | {"group_devices": 8}
    port = Between.model_validate(data)
    over = link(between=data).collective_ps("all_reduce", 10**9, 16)
    alone = 10**9 * 1.875 / (port.bandwidth_bytes_per_s * port.efficiency) * 1e12
    assert over == pytest.approx(alone, rel=0.01)


def test_energy_is_per_bit() -> None:
    """1.3 pJ per bit are 10.4 pJ per byte."""
    assert fragment("nvlink3").energy_pj(1000) == pytest.approx(10400)


def measured(gpu: str, op: str, source: str, **equal: str) -> list[tuple[int, int, float]]:
    """Return bytes, devices and microseconds of the measurements within one node."""
    with gzip.open(reference_file("measured/ops_sample.csv.gz"), "rt") as file:
        found = [
            (int(float(r["bytes"])), int(float(r["n_devices"])), float(r["latency_us"]))
            for r in csv.DictReader(file)
            if (r["gpu"], r["op"], r["source"]) == (gpu, op, source)
            and r["subop"] != "inter_node"
            and all(r[key] == value for key, value in equal.items())
        ]
    assert len(found) >= 10
    return found


def off(one: AlphaBetaLink, op: str, points: list[tuple[int, int, float]]) -> list[float]:
    """Return the relative errors in percent."""
    return [
        abs(one.collective_ps(MEASURED[op], size, devices) / 1e6 / us - 1) * 100
        for size, devices, us in points
    ]


@pytest.mark.validate
@pytest.mark.parametrize(
    ("op", "bound"), [("allreduce", 9), ("allgather", 10), ("reducescatter", 9), ("alltoall", 10)]
)
def test_collectives_of_the_campaign_that_calibrated(op: str, bound: float) -> None:
    """60 NCCL collectives each of 8 x A100, half of them fitted: 6.5 to 7.5 % mean."""
    points = measured("A100-SXM4-80GB", op, "aiconfigurator", impl="nccl-2.27.3")
    assert mean(off(fragment("nvlink3"), op, points)) < bound


@pytest.mark.validate
@pytest.mark.parametrize("source", ["llmcompass", "vidur"])
def test_all_reduce_of_campaigns_not_seen(source: str) -> None:
    """Other nodes, other NCCL: 13 % (LLMCompass, 8 B to 16 GiB) and 19 % (vidur) mean.

    LLMCompass's own model is 46 % off on its 32 points; vidur's short calls are bimodal.
    """
    points = measured("A100-SXM4-80GB", "allreduce", source)
    found = off(fragment("nvlink3"), "allreduce", points)
    assert mean(found) < 21
    long = off(fragment("nvlink3"), "allreduce", [p for p in points if p[0] >= 16_000_000])
    assert mean(long) < 16


@pytest.mark.validate
@pytest.mark.parametrize("op", ["allreduce", "allgather", "reducescatter", "alltoall"])
def test_collectives_over_pcie_5(op: str) -> None:
    """60 NCCL collectives each of 8 RTX PRO 6000, half of them fitted: 5 to 12 % mean."""
    points = measured("RTXPRO6000", op, "aiconfigurator", impl="nccl-2.29.2")
    assert mean(off(fragment("pcie5_x16"), op, points)) < 14


@pytest.mark.validate
def test_transfers() -> None:
    """Send and receive between two A100, half of the sizes fitted: 11 % mean."""
    points = measured("A100-SXM4-80GB", "send_recv", "vidur")
    assert mean(off(fragment("nvlink3"), "send_recv", points)) < 15


@pytest.mark.validate
def test_all_reduce_over_pcie_on_nccl_own_latencies() -> None:
    """Four A100 PCIe in a host: 3.7 % mean, 19 % at most, parameters from NCCL's source."""
    points = [p for p in measured("A100-PCIe-80GB", "allreduce", "vidur") if p[1] == 4]
    found = off(fragment("pcie4_x16"), "allreduce", points)
    assert mean(found) < 6
    assert max(found) < 25


@pytest.mark.validate
def test_bridged_pairs_in_a_host() -> None:
    """A100 PCIe, 2 over a bridge and 4 over the host besides: 6 % mean, none of it fitted."""
    points = measured("A100-PCIe-80GB", "allreduce", "vidur")
    assert mean(off(fragment("nvlink3_bridge"), "allreduce", points)) < 9
