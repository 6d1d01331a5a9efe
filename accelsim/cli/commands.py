"""``accelsim commands``: what one memory channel does for a product, command by command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelsim.cli._numbers import count, si
from accelsim.cli._options import Arch, Json, Set, read_overrides
from accelsim.cli._output import place, print_json, write, writing

if TYPE_CHECKING:
    from accelsim.cost import Work
    from accelsim.cost.dram import Dram
    from accelsim.cost.pim_bank import PimBank

__all__ = ["commands"]


def commands(
    arch: Arch = "neupims",
    outputs: Annotated[int, typer.Option(help="Outputs of the product (n).")] = 4096,
    inputs: Annotated[int, typer.Option(help="Length of its vector (k).")] = 2048,
    reads: Annotated[
        str, typer.Option(help="Bytes read beside it from the channel: another sub-batch's.")
    ] = "64 KiB",
    changes: Set = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for commands.json.gz and commands.png.")
    ] = Path(),
    as_json: Json = False,
) -> None:
    """Draw one channel's commands for a product in memory, with one row buffer and with two.

    The product is a weight matrix by one vector, spread over all channels of a device.
    """
    from accelsim.cost._pim_beside import blocked_and_concurrent
    from accelsim.quantity import parse
    from accelsim.report.commands import draw_commands, write_commands

    unit, memory = _unit(arch, changes)
    work = _product(unit, outputs, inputs)
    size = int(parse(reads, "bytes"))
    lines = blocked_and_concurrent(unit, work, memory, size)
    trace, picture = output / "commands.json.gz", output / "commands.png"
    with writing(trace):
        slices = write_commands(lines, trace)
    title = f"{arch}: {outputs} x {inputs} product, one channel of {memory.total_channels}"
    with writing(picture):
        draw_commands(lines, f"{title}, {si(size, 'B')} read beside it", picture)
    if as_json:
        print_json({
            "trace": trace, "picture": picture, "slices": slices,
            "cycles": {
                name: {"product": line.ends[0], "reads": line.ends[1], "all": line.end}
                for name, line in zip(("blocked", "concurrent"), lines, strict=True)
            },
        })  # fmt: skip
        return
    for line in lines:
        write(f"{line.name}: {count(line.end)} cycles, {si(line.end / line.clock_hz, 's')}")
    write(
        f"{place(picture)}\n{place(trace)}: {count(slices)} slices;"
        " open it in https://ui.perfetto.dev"
    )


def _unit(arch: str, changes: list[str] | None) -> tuple[PimBank, Dram]:
    """Return the first in-memory unit of an architecture, and its memory."""
    from accelsim.arch.build import load
    from accelsim.cost.dram import Dram
    from accelsim.cost.pim_bank import PimBank
    from accelsim.errors import ConfigError

    overrides = read_overrides(changes)
    wrong = next((path for path in overrides if not path.startswith("arch.")), "")
    if wrong:
        raise ConfigError("only parameters of the architecture count here", path=f"--set {wrong}")
    device = load(arch, {p.removeprefix("arch."): v for p, v in overrides.items()}).device
    for unit in device.units.values():
        memory = device.memories.get(unit.memory or device.main_memory)
        if isinstance(unit, PimBank) and isinstance(memory, Dram):
            return unit, memory
    raise ConfigError(
        f"no unit of `{arch}` computes in a DRAM",
        hint="take neupims or attacc, or give a unit of `kind: pim_bank`",
    )


def _product(unit: PimBank, outputs: int, inputs: int) -> Work:
    """Return a weight matrix by one vector, in the width that the unit takes."""
    from accelsim.cost import Work
    from accelsim.errors import ConfigError

    for option, value in (("--outputs", outputs), ("--inputs", inputs)):
        if value < 1:
            raise ConfigError(f"{value} is less than 1", path=option)
    bits = 16 if 16 in unit.operand_bits else unit.operand_bits[0]
    return Work(
        "matmul", n=outputs, k=inputs, bits_a=bits, bits_b=bits, bits_c=bits,
        weight_bytes=outputs * inputs * bits // 8, input_bytes=inputs * bits // 8,
        output_bytes=outputs * bits // 8, macs=outputs * inputs,
    )  # fmt: skip
