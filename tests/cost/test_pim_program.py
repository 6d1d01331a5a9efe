"""Commands of a product in memory and of reads beside it: the closed form, spelt out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accelsim.cost import Work
from accelsim.cost._dram_commands import ACT, BANK, MAC, ONE, OP, PRE, RD, REF, SCOPE
from accelsim.cost._pim_beside import Timeline, beside, blocked_and_concurrent
from accelsim.cost._pim_program import (
    COUNT,
    LABEL,
    LOAD,
    RESULT,
    gemv_program,
    pim_channel,
    read_program,
)
from accelsim.cost.dram import Dram
from accelsim.cost.pim_bank import PimBank
from accelsim.errors import ConfigError
from tests.cost.dram_rules import broken_rules
from tests.cost.pim_units import bank, dram, gemv, key_product, value_product

SHAPES = [(512, 2048), (4096, 2048), (4096, 4096), (1000, 3000), (16384, 4096)]


def alone(unit: PimBank, memory: Dram, work: Work) -> Timeline:
    """Issue the commands of a product with nothing beside them."""
    program = gemv_program(unit, work, memory)
    return beside(pim_channel(unit, memory), [program], refresh=unit.refresh != "none")


@pytest.mark.parametrize("fragment", ["hbm3_attacc_pim", "hbm3_attacc_pim_unlimited"])
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_commands_of_attacc_end_where_its_closed_form_does(
    fragment: str, outputs: int, inputs: int
) -> None:
    """One command after the other, they take the cycles of the equation: exactly, but refresh."""
    unit, memory = bank(fragment), dram("hbm3_attacc")
    line = alone(unit, memory, gemv(outputs, inputs))
    expected = unit.cycles([gemv(outputs, inputs)], memory)
    refreshes = len(set(line.refresh_start.tolist()))
    assert abs(line.end - expected) <= refreshes * line.channel.refresh * 0.05
    if not refreshes:
        assert line.end == expected


@pytest.mark.parametrize("fragment", ["hbm2_neupims_pim", "hbm2_neupims_pim_single"])
@pytest.mark.parametrize("row_buffers", [1, 2])
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_commands_of_neupims_end_where_its_closed_form_does(
    fragment: str, row_buffers: int, outputs: int, inputs: int
) -> None:
    """The closed form means over when the next refresh is due: never off by more than a wait."""
    unit = bank(fragment)
    memory = dram("hbm2_neupims").model_copy(update={"row_buffers": row_buffers})
    line = alone(unit, memory, gemv(outputs, inputs))
    expected = unit.cycles([gemv(outputs, inputs)], memory)
    wait = line.channel.interval // line.channel.ranks
    assert abs(line.end - expected) <= max(wait / 2, 0.05 * expected)


def test_every_mac_is_issued() -> None:
    """Together all banks multiply every weight: 5120 outputs divide evenly among 80 channels."""
    unit, memory = bank("hbm3_attacc_pim"), dram("hbm3_attacc")
    program = gemv_program(unit, gemv(5120, 4096), memory)
    macs = int(program[program[:, OP] == MAC, COUNT].sum())
    banks = pim_channel(unit, memory).total_banks * memory.pseudo_channels
    assert macs * unit.mac_bytes * banks * memory.total_channels == 2 * 5120 * 4096


@pytest.mark.parametrize("make", [key_product, value_product])
def test_products_of_the_cache_have_commands_too(make: object) -> None:
    """Scores and contexts are placed otherwise; their commands agree with the closed form."""
    unit, memory = bank("hbm2_neupims_pim"), dram("hbm2_neupims")
    work = make(32, 8, 300)  # type: ignore[operator]
    line = alone(unit, memory, work)
    assert line.end == pytest.approx(unit.cycles([work], memory), rel=0.05, abs=1950)


def both(read_bytes: int = 64 * 1024) -> tuple[Timeline, Timeline]:
    return blocked_and_concurrent(
        bank("hbm2_neupims_pim"), gemv(4096, 2048), dram("hbm2_neupims"), read_bytes
    )


def test_reads_wait_where_a_bank_has_one_row_buffer() -> None:
    """Blocked, the first read follows the last MAC; concurrent, it does not wait for the first."""
    blocked, concurrent = both()
    for line, waits in ((blocked, True), (concurrent, False)):
        product, reads = (line.start[line.program == number] for number in (0, 1))
        assert (reads[0] >= line.ends[0]) == waits
        assert (reads[0] > product[-1]) == waits
    assert blocked.end == max(blocked.ends) == blocked.ends[1]
    assert concurrent.end < blocked.end
    assert concurrent.ends[0] > 0.5 * blocked.ends[0], "both share one command bus"


def test_reads_beside_the_units_obey_the_rules() -> None:
    """Reads, their rows and refreshes, held to the rules as they are stated a second time."""
    for line in both():
        single = line.steps[:, SCOPE] == ONE
        first = line.steps[:, BANK] < line.channel.total_banks
        kept = single & first & np.isin(line.steps[:, OP], (ACT, PRE, RD))
        kept &= line.steps[:, LABEL] != LOAD
        log = list(
            zip(line.start[kept], line.steps[kept, OP], line.steps[kept, BANK], strict=True)
        )
        log += [
            (t, REF, rank) for t, rank in zip(line.refresh_start, line.refresh_rank, strict=True)
        ]
        assert (line.steps[kept, OP] == RD).sum() == 64 * 1024 // 64
        assert broken_rules(line.channel, log) == []


def test_a_command_bus_carries_one_command_at_a_time() -> None:
    """HBM's row and column commands have a bus each."""
    for line in both():
        column = np.isin(line.steps[:, OP], (RD, MAC))
        buses = [column, ~column] if not line.channel.single_bus else [column | ~column]
        for bus in buses:
            begins = np.sort(line.start[bus])
            assert (np.diff(begins) >= 1).all()


def test_reads_stream_at_the_pace_of_the_pins() -> None:
    """Alone and between refreshes, rows open in time and bursts follow one another."""
    memory = dram("hbm2_neupims")
    bursts = 8192
    program = read_program(memory, bursts * memory.burst_bytes)
    line = beside(memory.channel(), [program], refresh=False)
    paced = bursts * line.channel.ccd_s
    assert paced <= line.end <= 1.04 * paced
    refreshed = beside(memory.channel(), [program], refresh=True)
    stops = len(set(refreshed.refresh_start.tolist()))
    assert refreshed.end <= line.end + stops * (line.channel.refresh + line.channel.rc)


def test_single_commands_read_each_result() -> None:
    """Where MACs are commands of their own, so are the reads of results."""
    unit, memory = bank("hbm2_neupims_pim_single"), dram("hbm2_neupims")
    labels = gemv_program(unit, gemv(4096, 2048), memory)[:, LABEL]
    composite = gemv_program(bank("hbm2_neupims_pim"), gemv(4096, 2048), memory)[:, LABEL]
    assert (labels == RESULT).sum() > 0
    assert (labels == MAC).sum() > 4 * (composite == MAC).sum()


def test_what_has_no_commands_is_refused() -> None:
    """Units that read banks in turn, works that are no product, and nothing to read."""
    hbm3, hbm2 = dram("hbm3_attacc"), dram("hbm2_neupims")
    with pytest.raises(ConfigError, match="banks_in_turn"):
        gemv_program(bank("hbm3_attacc_pim_bank_group"), gemv(4096, 4096), hbm3)
    work = replace(gemv(64, 64), kind="softmax")
    with pytest.raises(ConfigError, match="softmax"):
        gemv_program(bank("hbm2_neupims_pim"), work, hbm2)
    with pytest.raises(ConfigError, match="0 bytes"):
        blocked_and_concurrent(bank("hbm2_neupims_pim"), gemv(64, 64), hbm2, 0)
    with pytest.raises(ConfigError, match="`activate_commands` is 3"):
        gemv_program(bank("hbm2_neupims_pim", activate_commands=3), gemv(64, 64), hbm2)


def test_a_program_that_can_never_go_on_is_named() -> None:
    """A read of a row that nobody opens ends in an error, not in silence."""
    memory = dram("hbm2_neupims")
    reads = read_program(memory, 4096)
    with pytest.raises(ConfigError, match="command 0"):
        beside(memory.channel(), [reads[reads[:, OP] == RD]], refresh=False)
