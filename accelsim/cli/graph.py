"""``accelsim graph``: a workload as a table, a drawing, a file, or a difference of two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelsim.cli._graphs import facts_of, graph_of
from accelsim.cli._numbers import si
from accelsim.cli._options import Batch, SeqLen, Set
from accelsim.cli._output import facts, place, print_json, table, write, writing

if TYPE_CHECKING:
    from accelsim.workload.table import OperatorRow

__all__ = ["graphs"]

graphs = typer.Typer(
    help="Look at workload graphs, save and compare them.", no_args_is_help=True,
    rich_markup_mode=None,
)  # fmt: skip

Source = Annotated[str, typer.Argument(help="A model, or the file of a saved graph.")]
Pass = Annotated[
    str,
    typer.Option("--phase", help="prefill, decode, mixed or forward; the model's usual one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


@graphs.command()
def show(
    source: Source, phase: Pass = "", batch: Batch = 1, seq_len: SeqLen = 1024,
    changes: Set = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Print a workload's totals, conventions and operators."""
    from accelsim.workload.table import operator_rows
    from accelsim.workload.table import table as table_of

    built = graph_of(source, phase, batch, seq_len, changes)
    rows = operator_rows(built)
    if as_json:
        print_json({
            "name": built.name, "phase": built.phase, "facts": dict(facts_of(built)),
            "operators": table_of(built).to_dict("records"),
        })  # fmt: skip
        return
    blocks: dict[tuple[str, int], list[list[str]]] = {}
    for row in rows:
        blocks.setdefault((row.block, row.count), []).append(_cells(row))
    names = ("operator", "kind", "label", "dims")
    figures = ("MACs", "vector ops", "weights", "KV, state", "activations")
    columns = [*((name, "<") for name in names), *((name, ">") for name in figures)]
    sections = [(f"{name} x {count}", lines) for (name, count), lines in blocks.items()]
    write(f"{built.name}\n", facts(facts_of(built)), table(columns, sections))


def _cells(row: OperatorRow) -> list[str]:
    """Return the cells of one operator, of one repetition."""
    one, times = row.counts, row.count
    activations = one.activation_read_bytes + one.activation_write_bytes
    cached = one.kv_read_bytes + one.kv_write_bytes + one.state_read_bytes + one.state_write_bytes
    figures = (one.macs, one.vector_ops, one.weight_read_bytes, cached, activations)
    units = ("", "", "B", "B", "B")
    return [
        f"  {row.operator.name}", row.operator.kind, row.operator.label, row.dims,
        *(si(f // times, u) if f else "-" for f, u in zip(figures, units, strict=True)),
    ]  # fmt: skip


@graphs.command()
def draw(
    source: Source, phase: Pass = "", batch: Batch = 1, seq_len: SeqLen = 1024,
    changes: Set = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File: .png or .svg.")
    ] = Path("graph.png"),
    block: Annotated[
        list[str] | None, typer.Option("--block", help="Only this block. Repeatable.")
    ] = None,
    detail: Annotated[
        str, typer.Option(help="operators, blocks, or auto: blocks where there are many.")
    ] = "auto",
) -> None:  # fmt: skip
    """Draw a workload, repeated layers once."""
    from accelsim.report.graph import draw as write_drawing

    built = graph_of(source, phase, batch, seq_len, changes)
    with writing(output):
        files = write_drawing(built, output, blocks=tuple(block or ()), detail=detail)
    write("".join(f"{place(file)}\n" for file in files))


@graphs.command()
def save(
    source: Source,
    output: Annotated[Path, typer.Argument(help="File to write (JSON).")],
    phase: Pass = "", batch: Batch = 1, seq_len: SeqLen = 1024, changes: Set = None,
) -> None:  # fmt: skip
    """Save a workload as JSON; every command takes the file in place of a model."""
    from accelsim.workload.serial import save as write_graph

    write(f"{place(write_graph(graph_of(source, phase, batch, seq_len, changes), output))}\n")


@graphs.command()
def diff(
    before: Source,
    after: Annotated[str, typer.Argument(help="Another model or saved graph.")],
    phase: Pass = "", batch: Batch = 1, seq_len: SeqLen = 1024, changes: Set = None,
    to_phase: Annotated[str, typer.Option(help="Phase of the second, if another.")] = "",
    to_batch: Annotated[int, typer.Option(help="Batch of the second, if another.")] = 0,
    to_seq_len: Annotated[int, typer.Option(help="Tokens of the second, if others.")] = 0,
) -> None:  # fmt: skip
    """Print what differs between two workloads: operators, dims, formats, totals."""
    from accelsim.workload.compare import diff as difference

    first = graph_of(before, phase, batch, seq_len, changes)
    second = graph_of(after, to_phase or phase, to_batch or batch, to_seq_len or seq_len, changes)
    write(str(difference(first, second)) + "\n")
