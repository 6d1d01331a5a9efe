"""The command level of DRAM: every log obeys the rules stated a second time, and nothing waits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.config import library, load_spec
from accelsim.cost._dram_access import bursts_at
from accelsim.cost._dram_commands import (
    ACT,
    BARRIER,
    BUS,
    CHANNEL,
    GROUP,
    MAC,
    ONE,
    PRE,
    RANK,
    RD,
    REF,
    SAME,
    WR,
    commands,
    issue,
)
from accelsim.cost._dram_requests import serve
from accelsim.cost._dram_state import packed
from accelsim.cost._dram_timing import ChannelTimings
from accelsim.cost.dram import Dram
from accelsim.errors import ConfigError
from tests.cost.dram_rules import broken_rules, least_gap

STANDARDS = sorted(path.stem for path in library.find("arch", "components/dram_hbm2").parent.glob(
    "dram_*.yaml"
))  # fmt: skip


def dram(name: str, **changes: object) -> Dram:
    spec = load_spec(library.find("arch", f"components/{name}"), Dram)
    return Dram.model_validate(spec.model_dump() | changes) if changes else spec


def two_ranks(**changes: object) -> ChannelTimings:
    return dram("dram_hbm3", **changes).channel(mac=6)


requests = st.lists(
    st.tuples(st.booleans(), st.integers(0, 31), st.integers(0, 3)), min_size=1, max_size=60
)


@pytest.mark.parametrize("name", STANDARDS)
@given(asked=requests, window=st.sampled_from([1, 4, 32]))
@settings(max_examples=15)
def test_served_commands_obey_every_rule(
    name: str, asked: list[tuple[bool, int, int]], window: int
) -> None:
    """Reads and writes of any banks and rows: no pair of commands is too close."""
    c = dram(name).channel()
    rows = np.array([(w, b % c.total_banks, r) for w, b, r in asked], dtype=np.int64)
    served = serve(c, rows, window=window, refresh=False, log=True)
    assert broken_rules(c, served.log) == []
    assert served.commands["RD"] + served.commands["WR"] == len(asked)


@pytest.mark.parametrize("refresh", ["all_bank", "channel", "per_bank"])
@given(asked=st.lists(st.tuples(st.booleans(), st.integers(0, 31)), min_size=40, max_size=60))
@settings(max_examples=10)
def test_refreshes_obey_every_rule(refresh: str, asked: list[tuple[bool, int]]) -> None:
    """With refreshes due every few accesses, rows close before them and wait after them."""
    spec = dram("dram_hbm3", refresh=refresh)
    assert spec.timings is not None
    often = spec.timings.model_dump() | {"refi": 1500, "rfc": 250, "rfc_pb": 120}
    c = dram("dram_hbm3", refresh=refresh, timings=often).channel()
    rows = np.array([(w, b, i) for i, (w, b) in enumerate(asked)], dtype=np.int64)
    served = serve(c, rows, log=True)
    # A log tells of a precharge of all banks by its first; those are held to in the closed form.
    log = [row for row in served.log if refresh == "per_bank" or row[1] != PRE]
    assert broken_rules(c, log) == []
    ranks = c.ranks * (16 if refresh == "per_bank" else 1)
    due = ranks * (served.cycles // 1500)
    assert due - ranks <= served.commands["REF"] <= due + ranks


@pytest.mark.parametrize("name", STANDARDS)
def test_nothing_waits_without_a_rule(name: str) -> None:
    """Each command of a program comes exactly when its tightest pair allows."""
    c = dram(name).channel()
    far = c.total_banks - 1
    program = commands(
        (ACT, ONE, 0), (ACT, ONE, far), (RD, ONE, 0), (RD, ONE, 0), (RD, ONE, far), (WR, ONE, far),
        (RD, ONE, far), (RD, ONE, 0), (WR, ONE, 0), (PRE, ONE, 0), (ACT, ONE, 0),
    )  # fmt: skip
    start = issue(c, program).start
    log = [(int(t), int(op), int(b)) for t, (op, _, b, _) in zip(start, program, strict=True)]
    assert broken_rules(c, log) == []
    for i, (late, op, b) in enumerate(log):
        column = op in (RD, WR)
        slots = [t + 1 for t, kind, _ in log[:i] if c.single_bus or (kind in (RD, WR)) == column]
        gaps = [t + least_gap(c, kind, other, op, b) for t, kind, other in log[:i]]
        window = [t for t, kind, _ in log[:i] if kind == ACT]
        if op == ACT and len(window) >= 4:
            gaps.append(window[-4] + c.faw)
        assert late == max([0, *slots, *gaps]), f"command {i}"


@pytest.mark.parametrize("name", STANDARDS)
def test_a_stream_runs_at_the_pins(name: str) -> None:
    """Without refresh, a long stream keeps the data pins busy but for its first access."""
    spec = dram(name)
    c = spec.channel()
    bursts = 4 * c.row_bursts * c.total_banks
    served = serve(c, bursts_at(packed(c), np.arange(bursts), 0), refresh=False)
    assert bursts * c.ccd_s <= served.cycles
    # HBM3E: a row takes longer to open than the 32 bursts that the controller looks ahead.
    late = 0.1 if name == "dram_hbm3e" else 0.01
    assert served.cycles < bursts * c.ccd_s * (1 + late) + c.rcd + c.cl + c.burst
    assert served.row_hits == pytest.approx(1 - 1 / c.row_bursts, abs=1e-9)


def test_all_bank_row_visits_take_the_published_time() -> None:
    """AttAcc: activate, 32 MACs every 6 cycles, precharge: 19 + 31 x 6 + 8 + 19 = 232 cycles."""
    c = dram("hbm3_attacc").channel(mac=6)
    visit = [(ACT, CHANNEL, 0), *[(MAC, CHANNEL, 0)] * 32, (PRE, CHANNEL, 0)]
    start = issue(c, commands(*visit * 3)).start
    assert np.diff(start[::34]).tolist() == [232, 232]


def test_refreshes_come_between_row_visits() -> None:
    """In whole events, all ranks at once: each costs its tRFC; none before the first is due."""
    c = dram("hbm3_attacc").channel(mac=6, staggered=False)
    visit = [(ACT, CHANNEL, 0), *[(MAC, CHANNEL, 0)] * 32, (PRE, CHANNEL, 0)]
    program = commands(*visit * 100)
    plain, done = issue(c, program), issue(c, program, refresh=True)
    events = len(done.refresh_start) // c.ranks
    assert set(done.refresh_rank.tolist()) == {0, 1}
    assert done.refresh_start.min() >= 5070
    assert done.end == plain.end + events * 456
    assert events == (done.end - 5070) // 5070 + 1


def test_gangs_of_banks_fill_the_window_of_four() -> None:
    """NeuPIMs: an activate of the four banks of a group is followed one tFAW later."""
    c = dram("hbm2_neupims").channel(mac=2)
    start = issue(c, commands((ACT, GROUP, 0), (ACT, GROUP, 4), (ACT, GROUP, 8))).start
    assert np.diff(start).tolist() == [30, 30]


def test_the_second_row_buffer_works_beside_the_first() -> None:
    """Rows of both buffers of a bank are open at a time, and MACs leave reads alone."""
    dual = dram("hbm2_neupims").channel(mac=2)
    far = dual.total_banks
    program = [(ACT, ONE, 0), (ACT, ONE, far), *[(MAC, ONE, far), (RD, ONE, 0)] * 8]
    both = issue(dual, commands(*program))
    alone = issue(dual, commands((ACT, ONE, 0), *[(RD, ONE, 0)] * 8))
    assert both.start[-1] - both.start[3] <= alone.start[-1] - alone.start[1] + 8
    single = dram("hbm2_neupims", row_buffers=1).channel(mac=8)
    shared = issue(single, commands((ACT, ONE, 0), *[(MAC, ONE, 0), (RD, ONE, 0)] * 4)).start
    assert (np.diff(shared[1:])[::2] >= 8).all()


def test_composite_commands_relieve_the_bus() -> None:
    """MACs at one per cycle on a bus that takes two cycles for each run at half the pace."""
    c = dram("dram_lpddr5").channel(mac=1)
    program = commands((ACT, RANK, 0), *[(MAC, RANK, 0)] * 10)
    fast = issue(c, program).start
    program[:, 3] = 2
    slow = issue(c, program).start
    assert np.diff(fast[1:]).tolist() == [1] * 9
    assert np.diff(slow[1:]).tolist() == [2] * 9


def test_scopes_name_their_banks() -> None:
    """The same bank of every group is one bank of each; the rest of the rank stays closed."""
    c = two_ranks()
    done = issue(c, commands((ACT, SAME, 1), *[(RD, ONE, b) for b in (1, 5, 9, 13)]))
    assert len(done.start) == 5
    for closed in (0, 2, 17):
        with pytest.raises(ConfigError, match=r"command 1 .RD."):
            issue(c, commands((ACT, SAME, 1), (RD, ONE, closed)))


def test_barriers_and_transfers_without_banks() -> None:
    """A barrier holds back what follows; a result read needs pins but no row."""
    c = two_ranks()
    held = issue(c, commands((ACT, ONE, 0), (RD, ONE, 0), (BARRIER, ONE, 0), (ACT, ONE, 16)))
    assert held.start[3] == held.start[1] + 1
    reads = issue(c, commands((RD, BUS, 0), (RD, BUS, 0))).start
    assert reads[1] - reads[0] == c.ccd_r


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ([(RD, ONE, 0)], "command 0 .RD. needs an open row"),
        ([(ACT, ONE, 0), (ACT, ONE, 0)], "command 1 .ACT. opens a row"),
        ([(ACT, ONE, 0), (MAC, RANK, 0)], "command 1 .MAC. needs an open row"),
        ([(ACT, ONE, 0), (REF, RANK, 0)], "command 1 .REF."),
        ([(ACT, ONE, 32)], "bank 32 is not in 0 .. 31"),
        ([(9, ONE, 0)], "operation 9"),
        ([(ACT, 7, 0)], "scope 7"),
    ],
)
def test_impossible_programs_are_refused(
    program: list[tuple[int, int, int]], message: str
) -> None:
    """What no channel can do names its place in the program."""
    with pytest.raises(ConfigError, match=message):
        issue(two_ranks(), commands(*program))


def test_impossible_requests_are_refused() -> None:
    """Banks beyond the channel, an empty window, writes without their timings."""
    one = np.zeros((1, 3), dtype=np.int64)
    with pytest.raises(ConfigError, match="bank 99"):
        serve(two_ranks(), np.array([[0, 99, 0]]))
    with pytest.raises(ConfigError, match="window of 0"):
        serve(two_ranks(), one, window=0)
    with pytest.raises(ConfigError, match="wtr_s"):
        serve(dram("hbm2_samsung").channel(), np.array([[1, 0, 0]]))


def test_nothing_takes_no_commands() -> None:
    """No requests: no cycles, no commands, not even a refresh."""
    served = serve(two_ranks(), np.empty((0, 3), dtype=np.int64))
    assert served.cycles == 0
    assert sum(served.commands.values()) == 0
    assert served.row_hits == 0
