"""Units at bank groups, on a buffer or logic die, in GDDR6, and elementwise work in the banks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accelsim.cost import Work
from accelsim.cost._pim_cycles import Commands, passes_cycles, visit_cycles
from accelsim.cost._pim_elementwise import (
    RowWrites,
    copy_cycles,
    elementwise_activity,
    elementwise_cycles,
    scatter_cycles,
)
from accelsim.errors import ConfigError, InfeasibleError
from accelsim.testing.components import KernelCall
from tests.cost.pim_units import (
    ATTACC,
    SOME_PASSES,
    BankContract,
    bank,
    dram,
    errors,
    gemv,
    key_product,
    setting,
    value_product,
)

GROUP = ATTACC._replace(turns=4)
SINGLE = Commands(105, 33, 5, 34, 2, 0, 6, 96, 0, 32, 2, 14, 14, 2, 3900, 260, 1, 1, 1)
SAMSUNG = RowWrites(14, 10, 33, 5, 14, 26, 4)
AIM = RowWrites(25, 28, 54, 12, 32, 41, 2)


class TestBankGroups(BankContract):
    fragment, memory = "hbm3_attacc_pim_bank_group", "hbm3_attacc"

    def works(self) -> Sequence[Work]:
        return (key_product(8, 96, 2048), value_product(8, 96, 2048), gemv(12288, 12288))


class TestBufferDie(BankContract):
    fragment, memory = "hbm3_attacc_pim_buffer", "hbm3_attacc"

    def works(self) -> Sequence[Work]:
        return (key_product(8, 96, 2048), value_product(8, 96, 2048), gemv(12288, 12288))


class TestLogicDie(BankContract):
    fragment, memory = "hbm3_duplex_pim", "hbm3_attacc"

    def works(self) -> Sequence[Work]:
        return (key_product(8, 8, 2048, m=8), value_product(8, 8, 2048, m=8), gemv(8192, 8192))

    def refused(self) -> Sequence[Work]:
        return (Work("softmax", m=8, n=128), replace(gemv(256, 256), m=5000))


class TestAim(BankContract):
    fragment, memory = "gddr6_aim_pim", "gddr6_aim"

    def works(self) -> Sequence[Work]:
        return (key_product(1, 32, 1024), value_product(1, 32, 1024), gemv(4096, 11008))

    def kernels(self) -> Sequence[KernelCall]:
        return (
            (elementwise_cycles, (AIM, 200, 64, 2, True, False)),
            (elementwise_cycles, (SAMSUNG, 200, 8, 2, False, True)),
            (scatter_cycles, (AIM, 2, 6, 128, 32, 1, 32)),
            (copy_cycles, (AIM, 6, 66, 48)),
            (passes_cycles, (SINGLE._replace(switch=32), SOME_PASSES)),
        )


def test_the_next_row_opens_behind_the_present_one() -> None:
    """A full row of 32 MACs costs its 192 cycles at a bank group, 232 in a bank."""
    assert visit_cycles(GROUP, 32, 32) == 32 * 6
    assert visit_cycles(ATTACC, 32, 32) == 232
    assert visit_cycles(GROUP, 1, 1) == 64 / 4


def test_commands_of_their_own_cost_their_slots() -> None:
    """NeuPIMs' keys tile of 32 MACs and 4 results: 213 cycles as single commands."""
    assert visit_cycles(SINGLE, 32, 36) == 213


def test_placements_trade_bandwidth_against_width() -> None:
    """Power limited, a stack's banks read 9, its groups 3 and its buffer die 1 times the pins."""
    work, memory = key_product(80, 16, 4096), dram("hbm3_attacc")
    names = ("hbm3_attacc_pim", "hbm3_attacc_pim_bank_group", "hbm3_attacc_pim_buffer")
    banks, groups, die = (bank(name).cycles([work], memory) for name in names)
    assert die / groups == pytest.approx(8 / 3, rel=0.05)  # 16 units of 6 cycles, 2 of 2
    assert groups / banks == pytest.approx(4 * 192 / 232, rel=0.05)  # row overhead shows in banks


def test_held_data_are_read_once_for_more_vectors_than_meet_at_a_time() -> None:
    """Nine vectors take the time of two passes and the row energy of one."""
    memory = setting("hbm3_attacc")
    held = bank("hbm3_duplex_pim", vector_mac_pj=0.0)
    again = bank("hbm3_duplex_pim", vector_mac_pj=0.0, vectors_held=None)
    eight, nine = (key_product(64, 8, 2048, m=m) for m in (8, 9))
    energy = {
        (unit is held, work.m): unit.estimate(work, memory).energy_pj["pim"]
        for unit in (held, again)
        for work in (eight, nine)
    }
    assert energy[True, 9] == energy[True, 8] == energy[False, 8]
    assert energy[False, 9] == 2 * energy[False, 8]
    assert held.estimate(nine, memory).compute_ps == again.estimate(nine, memory).compute_ps


def test_vectors_are_sent_to_channels_or_to_stacks() -> None:
    """80 channels of 5 stacks share the outputs of a matrix: 80 copies of its vector, or 5."""
    memory, work = setting("hbm3_attacc"), gemv(8192, 8192)
    stacks = bank("hbm3_duplex_pim").estimate(work, memory)
    channels = bank("hbm3_duplex_pim", vectors_sent_to="channels").estimate(work, memory)
    assert channels.input_traffic_bytes == 80 * work.input_bytes
    assert stacks.input_traffic_bytes == 5 * work.input_bytes
    assert stacks.compute_ps == channels.compute_ps


def test_what_is_held_is_checked() -> None:
    """Fewer vectors than meet at a time, or rows that do not open behind others."""
    with pytest.raises(ValidationError, match="at least `vectors_per_read`, 8"):
        bank("hbm3_duplex_pim", vectors_held=4)
    with pytest.raises(ValidationError, match="needs `banks_in_turn`"):
        bank("hbm3_attacc_pim", vectors_held=4)


def test_a_read_may_serve_many_vectors() -> None:
    """Duplex reads for eight vectors at a time, twice for nine."""
    unit, memory = bank("hbm3_duplex_pim"), dram("hbm3_attacc")
    one, eight, nine = (unit.cycles([key_product(64, 8, 2048, m=m)], memory) for m in (1, 8, 9))
    assert one == eight
    assert nine == pytest.approx(2 * eight, rel=0.02)


def test_accumulators_save_mode_switches() -> None:
    """AiM with one result per change to register mode pays it for every output."""
    memory = dram("gddr6_aim")
    unit = bank("gddr6_aim_pim", refresh="none")
    placement = unit.weights
    assert placement is not None
    alone = unit.model_copy(
        update={"weights": placement.model_copy(update={"results_at_once": 1})}
    )
    work = gemv(16384, 1024)  # 32 outputs per bank, each a row
    saved = alone.cycles([work], memory) - unit.cycles([work], memory)
    assert saved == 31 * (2 * 32 - 12)  # the precharge waits tRTP of each anyway


def test_one_row_buffer_opens_the_vector_anew() -> None:
    """Values load a vector per 512 tokens and head: with one row buffer each costs a row more."""
    two = dram("hbm2_neupims")
    one = two.model_copy(update={"row_buffers": 1})
    unit, work = bank("hbm2_neupims_pim"), value_product(32, 8, 512)
    blocked, free = unit.cycles([work], one), unit.cycles([work], two)
    assert blocked > free
    assert unit.cycles([work], two, beside_traffic=True) == blocked


def test_a_drain_of_writes_costs_a_window() -> None:
    """With one row buffer each group of writes costs half a refresh interval; with two nothing."""
    two = dram("hbm2_neupims")
    one = two.model_copy(update={"row_buffers": 1})
    unit, work = bank("hbm2_neupims_pim_single"), key_product(32, 8, 512)
    assert unit.cycles([work], one, drains=3) - unit.cycles([work], one) == 3 * 1950
    assert unit.cycles([work], two, drains=3) == unit.cycles([work], two)


def test_elementwise_in_one_bank_visits_each_operand() -> None:
    """Two reads of 8 columns (61 cycles each), then a write; its recovery hides or does not."""
    assert elementwise_cycles(SAMSUNG, 8, 8, 2, False, True) == 61 + 61 + 10 + 28
    assert elementwise_cycles(SAMSUNG, 8, 8, 2, False, False) == 160 + 26 + 14


def test_elementwise_in_banks_of_their_own_is_one_visit() -> None:
    """AiM's EWMUL of 64 columns: 25 + 126 + 41 + 32; a 65th opens another row."""
    assert elementwise_cycles(AIM, 64, 64, 2, True, False) == 224
    assert elementwise_cycles(AIM, 65, 64, 2, True, False) == 224 + 98


@given(elements=st.integers(1, 10**6), units=st.integers(1, 16), channels=st.integers(1, 64))
def test_elementwise_columns_hold_every_element(elements: int, units: int, channels: int) -> None:
    """Columns x units x channels hold the operand, with less than a column per unit to spare."""
    spec = bank("gddr6_aim_pim").elementwise
    assert spec is not None
    spread = spec.model_copy(update={"units": units})
    columns, operands = elementwise_activity(
        Work("elementwise", "mul", n=elements), spread, 32, channels
    )
    assert operands == 2
    assert columns * 16 * units * channels >= elements
    assert (columns - 1) * 16 * units * channels < elements


def test_operands_follow_from_bytes() -> None:
    """One operand where as much is read as written, two where twice as much."""
    spec = bank("gddr6_aim_pim").elementwise
    assert spec is not None
    work = Work("elementwise", "mul", n=64, input_bytes=128, output_bytes=128)
    assert elementwise_activity(work, spec, 32, 1)[1] == 1
    assert elementwise_activity(replace(work, input_bytes=256), spec, 32, 1)[1] == 2


def test_elementwise_estimate_counts_accesses() -> None:
    """Samsung's ADD of a million: 16 passes of three visits, each column's energy in all units."""
    unit = bank("hbm2_samsung_pim")
    estimate = unit.estimate(Work("elementwise", "add", n=1 << 20), setting("hbm2_samsung"))
    visits, units, columns = 3 * 16, 8 * 64, 128
    expected = units * (visits * unit.activate_pj + 3 * columns * unit.mac_pj)
    assert estimate.energy_pj["pim"] == pytest.approx(expected)
    assert estimate.compute_ps >= estimate.ideal_ps
    assert estimate.includes_memory


def test_operands_cross_the_interface_where_an_exchange_is_given() -> None:
    """AiM's product of two vectors: both written to the banks, the result read back."""
    unit, memory = bank("gddr6_aim_pim"), dram("gddr6_aim")
    work = Work("elementwise", "mul", n=1 << 16)
    estimate = unit.estimate(work, setting("gddr6_aim"))
    assert estimate.input_traffic_bytes == 2 * 2 << 16
    assert estimate.output_traffic_bytes == 2 << 16
    inside = unit.cycles([work], memory) / memory.clock
    moved = unit.scatter_cycles(2 << 16, 128, memory, 2) + unit.scatter_cycles(
        2 << 16, 128, memory
    )
    assert estimate.compute_ps == pytest.approx((inside + moved / memory.clock) * 1e12, abs=1)
    resting = bank("hbm2_samsung_pim").estimate(
        Work("elementwise", "add", n=1 << 20), setting("hbm2_samsung")
    )
    assert resting.input_traffic_bytes == 0


def test_unknown_elementwise_operations_are_refused() -> None:
    """AiM multiplies only; AttAcc's banks do nothing element by element."""
    add = Work("elementwise", "add", n=64)
    assert "mul" in bank("gddr6_aim_pim").refusal(add)
    assert bank("hbm3_attacc_pim").refusal(add)
    with pytest.raises(ConfigError, match="none of"):
        bank("gddr6_aim_pim").cycles([add], dram("gddr6_aim"))


def test_scatters_are_bound_by_the_command_bus_or_a_channel() -> None:
    """Many banks wait for the host's commands, one bank for its row and its bursts."""
    unit, memory = bank("gddr6_aim_pim"), dram("gddr6_aim")
    assert unit.scatter_cycles(2 * 128 * 1024, 128, memory) == 128 * 64
    assert unit.scatter_cycles(32, 1, memory) == 32 + 32 + 28 + 2 + 41
    assert unit.scatter_cycles(32, 1, memory, 2) - unit.scatter_cycles(32, 1, memory) == 34
    assert unit.copy_cycles(64, memory) == 2 * 32 + 66 + 48 + 2 * 2 * 2 + 41
    with pytest.raises(ConfigError, match="exchange"):
        bank("hbm3_attacc_pim").scatter_cycles(64, 1, dram("hbm3_attacc"))


def test_units_must_divide_the_banks() -> None:
    """Three units of four banks do not share out 64; the error names them."""
    unit = bank("hbm3_attacc_pim_bank_group")
    odd = unit.model_copy(update={"score": bank("hbm3_attacc_pim").score, "banks_in_turn": 3})
    with pytest.raises(ConfigError, match="64 units of 3 banks"):
        odd.cycles([key_product(1, 16, 128)], dram("hbm3_attacc"))


def test_keys_that_do_not_fit_a_channel_are_refused() -> None:
    """All heads of a sequence lie on one channel: 4 M tokens of 8 heads need 8 GB of its 1 GB."""
    unit = bank("hbm2_neupims_pim")
    with pytest.raises(InfeasibleError, match="channel"):
        unit.estimate(key_product(1, 8, 1 << 22), setting("hbm2_neupims"))


def test_banks_in_turn_need_plain_macs() -> None:
    """Composite commands and the slack rule know no turns."""
    with pytest.raises(ValidationError, match="banks_in_turn"):
        bank("hbm2_neupims_pim", banks_in_turn=2)


def test_wider_paths_cost_more_energy_per_byte() -> None:
    """AttAcc's table: 0.55, 1.56 and 3.29 pJ/bit in banks, groups and on the buffer die."""
    work = key_product(80, 16, 4096)  # rows full, so that activation is 0.11 pJ/bit
    bits = 8 * work.kv_bytes
    for name, per_bit in (
        ("hbm3_attacc_pim", 0.55),
        ("hbm3_attacc_pim_bank_group", 1.56),
        ("hbm3_attacc_pim_buffer", 3.29),
    ):
        energy = bank(name).estimate(work, setting("hbm3_attacc")).energy_pj["pim"]
        arithmetic = work.macs * 0.32
        assert (energy - arithmetic) / bits == pytest.approx(per_bit, rel=0.02), name


@pytest.mark.validate
@pytest.mark.parametrize(
    ("group", "average", "worst"),
    [
        ("attacc bg", 0.1, 0.3),
        ("attacc buffer", 1.0, 1.2),
        ("samsung elementwise", 0.8, 1.0),
        ("cent block", 2.5, 8.0),
        ("neupims keys, one row buffer", 3.0, 7.0),
        ("neupims values, one row buffer", 4.0, 7.0),
        ("neupims keys, sub-batches", 5.5, 7.0),
        ("neupims values, sub-batches", 3.0, 4.5),
        ("neupims stage B", 2.5, 3.5),
    ],
)
def test_units_against_their_simulators(group: str, average: float, worst: float) -> None:
    """Mean and largest error in percent; nothing of these units is fitted to the rows."""
    found = errors(group)
    assert found.mean() < average
    assert found.max() < worst
