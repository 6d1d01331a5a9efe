"""A token on CENT: its blocks in memory, vectors at the controller, the CXL switch, and energy.

Cycles and row counts come from the units; what the controller, the switch and the host add is as
the authors' scripts count it, each constant with its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final, NamedTuple

from accelsim.cost import Setting, Work
from accelsim.cost.dram import Dram
from accelsim.cost.pim_bank import PimBank

__all__ = ["Block", "Move", "Sizes", "token_mj", "token_ms"]

# Yufeng98/CENT, cent_simulation/cxl_latency.py.
_SWITCH_S: Final = (4 * 25 + 2 * (5 + 20 + 5) + 20) * 1e-9
"""There and back: four ports of 25 ns, two ways of PCIe, the switch."""
_LANES: Final = 144  # of the switch, shared by the devices (run_sim.py)
_LANE_BYTES_PER_S: Final = 8 * 2**30 / 2  # half of it, since the switch multicasts
_FLIT_BYTES, _FLIT_PAYLOAD = 256, 3 * 64  # a flit carries three messages of 64 bytes

# cent_power_calculator.py: cycles of the controller, 16 lanes for each channel.
_ADD: Final = 2 + 2  # per 16 elements of all channels: read two a channel, add, write
_EXP: Final = 11 + 1  # read one a channel, 11 for the exponential, write
_NORM: Final = 3 + 26  # the reduction, and the root on a RISC-V core
_HEAD: Final = 1 + 16 + 2 / 8 + 1  # a head's reduction, and its division on 8 cores
_ROTATION: Final = 3 / 8  # an element on 8 cores
_HOST_MS: Final = 0.15  # utils.py: the choice of the next token on the host

# cent_power_calculator.py: mW of two channels' controller at 2 GHz, by request and by command.
_REQUEST_PJ: Final = 267.7082056 / 2 / 2
_COMMAND_PJ: Final = 381.0445262 / 2 / 2
_WRITE_PJ: Final = 553.15 * 1.25  # mW x ns of a burst
_STANDBY_MW: Final = 263.75  # with rows open; counted for one channel of a device
_PCIE_PJ_PER_BIT: Final = 4.4


class Sizes(NamedTuple):
    """Hidden size, query heads, KV heads, head size and the feed-forward's inner size."""

    hidden: int
    heads: int
    kv_heads: int
    width: int
    inner: int


class Move(NamedTuple):
    """So many exchanges of `vectors` of a size with banks (or groups)."""

    times: int
    size_bytes: int
    over: int
    vectors: int


@dataclass(frozen=True, slots=True)
class Block:
    """What a decoder block asks of one of its `parallel` devices, for one token.

    Attributes
    ----------
    sizes : Sizes
    blocks, vocabulary, length, parallel : int
        Blocks and entries of the model's vocabulary, cached tokens, devices that share a block.
    products, elementwise : list of Work
    moves, copies : list
        Exchanges, and (times, bytes) of copies between bank and buffer.
    """

    sizes: Sizes
    blocks: int
    vocabulary: int
    length: int
    parallel: int
    products: list[Work]
    elementwise: list[Work]
    moves: list[Move]
    copies: list[tuple[int, int]]

    @property
    def works(self) -> list[Work]:
        """All that runs in the banks."""
        return self.products + self.elementwise


def token_ms(block: Block, block_ms: float, devices: int, units: PimBank, dram: Dram) -> float:
    """Return the latency of a token: all blocks, the head of the model, and the host.

    Parameters
    ----------
    block : Block
    block_ms : float
        Time of a block in memory.
    devices : int
        Devices on the switch, which share its lanes.
    units, dram : PimBank, Dram
        Of one device.
    """
    outputs = ceil(block.vocabulary / block.parallel)
    head = Work("matmul", m=1, n=outputs, k=block.sizes.hidden)
    head_ms = units.cycles([head], dram) / dram.clock * 1e3
    each = block_ms + _controller_ms(block, dram) + _switch_ms(block, devices)
    return block.blocks * each + head_ms + _HOST_MS


def _controller_ms(block: Block, dram: Dram) -> float:
    """Return the time of norms, softmax and rotation on the controller's lanes and cores."""
    hidden, heads, kv_heads, _, _ = block.sizes
    channels = dram.total_channels
    add, exp = 2 * channels + _ADD - 2, channels + _EXP
    norm = hidden / 256 / channels * add + _NORM
    softmax = block.length * heads / 16 / channels * (add + exp) + heads * _HEAD
    rotation = (1 + kv_heads / heads) * hidden * _ROTATION
    return (2 * norm + softmax + rotation) / dram.clock * 1e3


def _switch_ms(block: Block, devices: int) -> float:
    """Return the time of a block's vectors over the switch: six each to all and from all."""
    rate = _LANES // devices * _LANE_BYTES_PER_S
    vectors = [block.sizes.hidden] * 5 + [block.sizes.inner]
    seconds = 0.0
    for elements in vectors:
        part = ceil(elements / block.parallel * 2 / _FLIT_PAYLOAD)
        flits = ceil(elements * 2 / _FLIT_PAYLOAD) + part * (block.parallel - 1)
        seconds += 2 * _SWITCH_S + flits * _FLIT_BYTES / rate
    return seconds * 1e3


def token_mj(block: Block, block_ms: float, units: PimBank, dram: Dram) -> float:
    """Return the energy of a token: banks, pins, controllers and standby of all blocks.

    Parameters
    ----------
    block, block_ms, units, dram
        As for `token_ms`.

    Notes
    -----
    The products with weights run on all devices of a block, the rest on one.  Left out, below a
    tenth of a per cent each: static power of buffers and of the controller, its arithmetic.
    """
    weights = sum(_work_pj(w, units, dram) for w in block.products if not w.function)
    alone = [work for work in block.products if work.function] + block.elementwise
    rest = sum(_work_pj(work, units, dram) for work in alone)
    rest += sum(_move_pj(move, dram) for move in block.moves)
    sent = 16 * (10 * block.sizes.hidden + 2 * block.sizes.inner) * (block.parallel > 1)
    standby = _STANDBY_MW * block_ms * block.parallel * 1e6
    each = weights * block.parallel + rest + standby + sent * _PCIE_PJ_PER_BIT
    return block.blocks * each * 1e-9


def _work_pj(work: Work, units: PimBank, dram: Dram) -> float:
    """Return a work's energy: in the banks, and of a product's vectors and commands.

    A vector goes to the channels' buffers, over pins alone; each group of results has its
    accumulators set and read.  What elementwise work exchanges stands among the moves.
    """
    if work.kind == "elementwise":
        return units.estimate(work, Setting(dram, None, 7.0)).energy_pj["pim"]
    vectors, results = units.crossings(work, dram)
    rows, macs, banks = units.commands(work, dram)
    energy = banks * (rows * units.activate_pj + macs * units.mac_pj)
    pins = dram.io_pj_per_bit * dram.burst_bytes * 8
    read = (dram.access_pj_per_bit or 0.0) * dram.burst_bytes * 8
    sent, back = vectors / dram.burst_bytes, results / dram.burst_bytes
    requests = macs + sent + 2 * back
    energy += sent * pins + back * (2 * pins + read + _WRITE_PJ)
    return energy + requests * (_REQUEST_PJ + _COMMAND_PJ) + 2 * rows * _COMMAND_PJ


def _move_pj(move: Move, dram: Dram) -> float:
    """Return the energy of vectors written to banks, or read, on pins and in the controller."""
    bursts = move.times * move.vectors * move.size_bytes / dram.burst_bytes
    pins = dram.io_pj_per_bit * dram.burst_bytes * 8
    return bursts * (pins + _WRITE_PJ + _REQUEST_PJ + _COMMAND_PJ)
