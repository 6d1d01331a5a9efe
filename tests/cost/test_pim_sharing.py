"""In-memory work beside traffic: writes between commands, shared activates, queues at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.cost import Work
from accelsim.cost._pim_cycles import PHASES, Commands, slack_cycles, visit_cycles
from accelsim.cost._pim_sharing import blocked_cycles, written_rows
from accelsim.errors import ConfigError
from tests.cost.pim_units import bank, dram, gemv, key_product, setting, value_product

WINDOW = 1950
"""NeuPIMs' refresh interval over its two ranks."""


def test_results_fill_rows_of_their_own() -> None:
    """Scores of 8 heads: one row of 1 KB up to 512 tokens, two beyond."""
    assert written_rows(key_product(1, 8, 512), 1024) == 8
    assert written_rows(key_product(1, 8, 513), 1024) == 16
    assert written_rows(value_product(3, 8, 4096), 1024) == 24


def test_writes_cost_a_blocked_memory_a_window_each() -> None:
    """256 sequences of 8 heads write 2,048 rows to 32 channels: 64 windows."""
    unit, memory = bank("hbm2_neupims_pim_single"), dram("hbm2_neupims")
    single = memory.model_copy(update={"row_buffers": 1})
    work = key_product(256, 8, 300)
    assert unit.drains([work], single) == 64
    spent = unit.estimate(work, replace(setting("hbm2_neupims"), memory=single)).compute_ps
    alone = unit.cycles([work], single)
    assert spent == pytest.approx(1000 * (alone + 64 * WINDOW))
    both = unit.estimate(work, setting("hbm2_neupims")).compute_ps
    assert both == pytest.approx(1000 * unit.cycles([work], memory))


def test_only_the_slack_rule_pays_for_writes() -> None:
    """AttAcc's units get their vectors from a buffer of their own."""
    assert bank("hbm3_attacc_pim").drains([key_product(64, 8, 2048)], dram("hbm3_attacc")) == 0


def test_traffic_beside_closes_the_vector_row() -> None:
    """A concurrent memory pays for it once per load, a blocked one has nothing beside it."""
    unit, work = bank("hbm2_neupims_pim"), value_product(64, 8, 2048)
    quiet = setting("hbm2_neupims")
    busy = replace(quiet, beside_traffic=True)
    assert unit.estimate(work, busy).compute_ps > unit.estimate(work, quiet).compute_ps
    single = dram("hbm2_neupims").model_copy(update={"row_buffers": 1})
    times = [unit.estimate(work, replace(s, memory=single)).compute_ps for s in (quiet, busy)]
    assert times[0] == times[1]


def test_work_in_memory_takes_activates_from_traffic() -> None:
    """One row buffer leaves nothing; with two 56 of the cycles of each visit are lost."""
    unit, memory = bank("hbm2_neupims_pim"), dram("hbm2_neupims")
    work = key_product(32, 8, 2048)
    assert unit.traffic_share([work], memory.model_copy(update={"row_buffers": 1})) == 1.0
    cycles = unit.cycles([work], memory, beside_traffic=True)
    visits = 2 * 2048 // 32  # a tile of 32 tokens and 4 of 8 heads
    assert unit.traffic_share([work], memory) == pytest.approx(visits * 56 / cycles)
    assert unit.traffic_share([work], memory, 2 * cycles) == pytest.approx(visits * 28 / cycles)


def test_few_activates_do_not_hold_traffic_up() -> None:
    """What the controller has opened already lasts 64 cycles, two activates a rank take 60."""
    memory = dram("hbm2_neupims")
    assert memory.timings is not None
    assert [blocked_cycles(n, memory, memory.timings) for n in (1, 4, 5, 8)] == [0, 0, 26, 56]


def test_vectors_cross_once_per_channel_and_results_once_per_part() -> None:
    """A product over AiM's 32 channels: its vector goes to each, in parts of 2 KB."""
    unit, memory = bank("gddr6_aim_pim"), dram("gddr6_aim")
    read, written = unit.crossings(gemv(4096, 2048), memory)
    assert (read, written) == (32 * 2 * 2048, 2 * 2 * 4096)
    rows, macs, banks = unit.commands(gemv(4096, 2048), memory)
    assert banks == 16
    assert macs == 4096 * 2048 // (16 * 16)
    assert rows == macs // 64


@given(
    st.lists(st.lists(st.integers(1, 2100), max_size=4), min_size=1, max_size=4),
    st.sampled_from(["score", "context"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
)
def test_queues_at_once_are_queues_one_by_one(
    queues: Sequence[Sequence[int]], function: str, single: bool, beside: bool, drains: int
) -> None:
    """To the last bit, whatever the lengths; a channel without requests takes no time."""
    unit = bank("hbm2_neupims_pim_single" if single else "hbm2_neupims_pim")
    memory = dram("hbm2_neupims").model_copy(update={"channels": 1, "row_buffers": 2 - single})

    def work(length: int) -> Work:
        return (key_product if function == "score" else value_product)(1, 8, length)

    found = unit.queues_cycles(work(1), queues, memory, beside_traffic=beside, drains=drains)
    for queue, cycles in zip(queues, found, strict=True):
        works = [work(length) for length in queue]
        asked = unit.cycles(works, memory, beside_traffic=beside, drains=drains) if works else 0
        assert cycles == asked


@pytest.mark.parametrize(
    ("name", "work"), [("hbm3_attacc_pim", key_product(1, 8, 1)), ("hbm2_neupims_pim", gemv(8, 8))]
)
def test_queues_are_of_scores_or_contexts_under_the_slack_rule(name: str, work: Work) -> None:
    """Others have no requests that differ in their tokens alone, or other rules of refresh."""
    with pytest.raises(ConfigError, match="queues of"):
        bank(name).queues_cycles(work, [[8]], dram("hbm2_neupims"))


def step_by_step(c: Commands, passes: np.ndarray) -> float:
    """Return what `slack_cycles` does, asking before every load and every visit."""
    window, half = c.refi // c.ranks, c.precharges // c.ranks
    total = 0
    for i in range(PHASES):
        phase = (2 * i + 1) * window // (2 * PHASES)
        t, begun, fresh, held = phase, 0, True, False
        for repeat, loads, tiles, rows, macs, commands, rest, last, *_ in passes.tolist():
            tile = [(macs, commands)] * rows + [(rest, last)] * (rest > 0)
            for macs_, commands_ in ([(0, 0)] * loads + tile * tiles) * repeat:
                missing = 0 if held else 1
                needed = c.load + missing * (c.rp + c.rcd)
                if macs_:
                    slots = c.mac * max(macs_, c.pipeline_macs)
                    needed = c.precharges * c.rtp + c.opening + slots
                    needed += c.column_l * (commands_ - 1) - fresh * half * c.rtp
                if needed >= window - t:
                    t, begun, fresh, held, missing = 0, begun + 1, True, False, 1
                if not macs_:
                    t, held = t + c.load + missing * c.rcd, True
                    continue
                visit = visit_cycles(c, macs_, commands_)
                if fresh:
                    each = max(-(-macs_ // commands_), c.pipeline_macs) + c.result_slots
                    column = (commands_ - 1) * each * c.mac
                    t = max(half + c.rp + c.rfc, t + half + 1)
                    visit = c.opening + column + c.rtp
                t, fresh = t + visit, False
        total += begun * window + t - phase
    return total / PHASES


@given(
    st.lists(
        st.tuples(
            st.integers(1, 5), st.integers(0, 2), st.integers(1, 12), st.integers(0, 2),
            st.just(32), st.sampled_from([4, 32]), st.sampled_from([0, 8, 20]),
            st.sampled_from([1, 4]), st.just(0), st.just(0),
        ),
        min_size=1, max_size=3,
    ),
    st.integers(20, 200),
    st.sampled_from([1, 2]),
)  # fmt: skip
def test_a_run_of_equal_visits_is_each_of_them(
    rows: list[tuple[int, ...]], opening: int, ranks: int
) -> None:
    """Filling a window at once gives the cycles of asking visit by visit."""
    c = Commands(opening, 33, 5, 34, 2, 1, 6, 96, 0, 32, 2, 14, 14, ranks, 3900, 260)
    passes = np.array(rows, np.int64)
    assert slack_cycles(c, passes) == step_by_step(c, passes)
