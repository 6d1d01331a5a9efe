"""What a file says of units in or under a memory: what they read, when, and at what cost.

The equations over these parameters stand in `pim_bank`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Picojoules, Whole
from accelsim.cost._component import Unit
from accelsim.cost._pim_elementwise import Elementwise, Exchange
from accelsim.cost._pim_layout import Placement

__all__ = ["PimParameters"]


class PimParameters(Unit):
    """Parameters of MAC units in a DRAM or on the die under it."""

    mac_bytes: Count
    """Bytes of matrix that one MAC reads in each bank."""
    mac_cycles: Count
    """Clock cycles from one MAC to the next."""
    operand_bits: tuple[Count, ...] = (16,)
    """Element widths that the MAC units take."""
    max_vectors: Count = 16
    """Most vectors per matrix (m) that the unit accepts."""
    vectors_per_read: Count = 1
    """Vectors that one read of the matrix serves; more are passes over the rows of their own."""
    vectors_held: Count | None = None
    """Vectors that meet a read of the matrix before it is read again, `vectors_per_read` at a time
    from a buffer; `vectors_per_read` where absent.  Saves energy, and no time: arithmetic has the
    pace of reads for `vectors_per_read`, and rows open behind it (`banks_in_turn`)."""
    banks_in_turn: Count = 1
    """Banks that each unit reads one after the other, opening the next behind the present one."""
    activate_to_mac_cycles: Count | None = None
    """Activate to the first MAC; the memory's `rcd` where absent."""
    score: Placement | None = None
    """Where keys lie; without it the unit refuses score products."""
    context: Placement | None = None
    """Where values lie; without it the unit refuses context products."""
    weights: Placement | None = None
    """Where weights lie; without it the unit refuses other products."""
    mac_command: Literal["mac", "result", "single"] = "mac"
    """What a column command does: one MAC, results read elsewhere; all MACs of a result and its
    read; or one MAC or one read, each a command of its own."""
    result_slots: Whole = 0
    """MAC slots that the read of a result takes within its command."""
    pipeline_macs: Count = 1
    """Fewest MAC slots of a command that ends with a result."""
    activate_commands: Count = 1
    """Commands that open a row in all banks of a channel, one tFAW apart in each rank."""
    precharge_commands: Count = 1
    """Commands that close them, one per cycle."""
    header_cycles: Whole = 0
    """Command cycles before a visit that carry no access."""
    vectors_sent_to: Literal["channels", "stacks"] = "channels"
    """What gets a copy of each vector whose matrix several channels share: every channel, or every
    stack, in a buffer on its logic die."""
    vector_bytes: Count | None = None
    """Vector that the banks see at a time; all of it where absent."""
    vector_load_cycles: Whole = 0
    """Exposed cycles of loading it; 0 where it hides behind other heads."""
    outputs_per_tile: Count | None = None
    """Outputs that a bank accumulates at a time; all where absent."""
    stationary: Literal["vector", "outputs"] = "vector"
    """What stays while the other changes: each vector part meets all outputs, or each output tile
    is finished first."""
    result_cycles: Whole = 0
    """Exposed cycles of reading an output tile (and of setting its accumulator)."""
    mode_switch_cycles: Whole = 0
    """Cycles of a change between running MACs and accessing registers, each way."""
    setup_cycles: Whole = 0
    """Fixed cycles of an operator: mode changes, program load."""
    refresh: Literal["between_rows", "within_row", "slack", "none"] = "between_rows"
    """When refresh strikes: between two row visits, within one, never because no visit starts
    that does not fit before it, or never at all (a simulator that sends none)."""
    pipelined_heads: Literal[1, 2] = 1
    """Heads in flight: with 2, softmax and moves of one hide behind the MACs of the other."""
    second_context_reuses_row: bool = False
    """Whether the second head in flight finds its values' row open if they fit one row."""
    hidden_move_cycles: Whole = 0
    """Cycles of the probabilities' move that stay hidden even for a head without a partner."""
    activate_pj: Picojoules
    """Energy of opening and closing a row in one bank."""
    mac_pj: Picojoules
    """Energy of one MAC command in one unit: array read, its way to the unit, arithmetic."""
    vector_mac_pj: Picojoules = 0.0
    """Energy of the arithmetic per MAC command and vector, where `mac_pj` leaves it out."""
    elementwise: Elementwise | None = None
    """Elementwise operations on operands in the banks; without it the unit refuses them."""
    exchange: Exchange | None = None
    """How vectors cross the interface outside the unit's own commands."""

    @model_validator(mode="after")
    def _holds_what_it_reads_for(self) -> PimParameters:
        held = self.vectors_held
        if held is not None and (held < self.vectors_per_read or self.banks_in_turn == 1):
            raise PydanticCustomError(
                "held",
                "`vectors_held` needs `banks_in_turn`, and at least `vectors_per_read`, {least}",
                {"least": self.vectors_per_read},
            )
        return self

    @model_validator(mode="after")
    def _slack_loads_once(self) -> PimParameters:
        if self.refresh == "slack" and self.stationary != "vector":
            raise PydanticCustomError("slack", "`refresh: slack` needs `stationary: vector`")
        return self

    @model_validator(mode="after")
    def _turns_read_plain_macs(self) -> PimParameters:
        if self.banks_in_turn > 1 and (self.mac_command != "mac" or self.refresh == "slack"):
            raise PydanticCustomError(
                "turns", "`banks_in_turn` above 1 needs `mac_command: mac` and no slack rule"
            )
        return self
