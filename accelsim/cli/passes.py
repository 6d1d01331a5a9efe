"""``accelsim passes``: how often an algorithm goes through each rank, and what that moves."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim.cli._graphs import cascade_of_source
from accelsim.cli._numbers import si
from accelsim.cli._options import Batch, Json, SeqLen, Set
from accelsim.cli._output import facts, print_json, table, write

if TYPE_CHECKING:
    from accelsim.workload.cascade import Cascade
    from accelsim.workload.passes import Analysis

__all__ = ["passes"]


def passes(
    source: Annotated[str, typer.Argument(help="A model, or the file of a saved graph.")],
    rank: Annotated[str, typer.Option("--rank", "-r", help="Only this rank, pass by pass.")] = "",
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", help="Keep this tensor between passes. Repeatable; needs --rank."),
    ] = None,
    cheapest: Annotated[
        bool, typer.Option("--cheapest", help="Keep what makes the traffic least.")
    ] = False,
    block: Annotated[
        str, typer.Option("--block", help="Block of a model that is not written as Einsums.")
    ] = "",
    phase: Annotated[
        str, typer.Option("--phase", help="prefill, decode, mixed or forward; the usual one.")
    ] = "",
    batch: Batch = 1,
    seq_len: SeqLen = 1024,
    changes: Set = None,
    as_json: Json = False,
) -> None:
    """Print how many passes over each rank a model's Einsums need, and their traffic."""
    from accelsim.errors import ConfigError

    if keep and (not rank or cheapest):
        raise ConfigError("--keep needs --rank, and no --cheapest", path="--keep")
    cascade = cascade_of_source(source, phase, batch, seq_len, changes, block)
    found = _analyses(cascade, rank, tuple(keep or ()), cheapest)
    if as_json:
        print_json({"cascade": cascade.name, "ranks": [_plain(one) for one in found]})
    elif rank:
        _print_one(cascade, found[0])
    else:
        _print_all(cascade, found)


def _analyses(
    cascade: Cascade, rank: str, keep: tuple[str, ...], cheapest: bool
) -> tuple[Analysis, ...]:
    from accelsim.workload.passes import analyse, analyse_all
    from accelsim.workload.passes import cheapest as cheapest_of

    if not rank:
        found = analyse_all(cascade)
        return tuple(cheapest_of(cascade, a.rank) for a in found) if cheapest else found
    return (cheapest_of(cascade, rank) if cheapest else analyse(cascade, rank, keep),)


def _plain(one: Analysis) -> dict[str, Any]:
    return {
        **asdict(one),
        "count": one.count,
        "words": one.words,
        "bytes": one.bytes,
        "footprint": one.footprint,
    }


def _print_all(cascade: Cascade, found: tuple[Analysis, ...]) -> None:
    from accelsim.workload.passes import unfused_words

    rows = [
        [one.rank, str(one.size), str(one.count), one.footprint, si(one.held_words, ""),
         si(one.state_words, ""), si(one.words, ""), ", ".join(one.stored)]
        for one in found
    ]  # fmt: skip
    columns = [
        ("rank", "<"), ("size", ">"), ("passes", ">"), ("live", "<"), ("held", ">"),
        ("state", ">"), ("words", ">"), ("kept", "~"),
    ]  # fmt: skip
    write(
        f"{cascade.name}\n",
        facts([
            ("Einsums", str(len(cascade.einsums))),
            ("operations", ", ".join(f"{n} {si(k, '')}" for n, k in cascade.operations().items())),
            ("unfused", f"{si(unfused_words(cascade), '')} words, each Einsum by itself"),
        ]),
        table(columns, [("", rows)]),
        "held, state: words per fibre that must stay on chip so that nothing is read twice, and of"
        " sums and running values;\nwords: moved where a fibre does not fit and all else is read"
        " once.\n",
    )  # fmt: skip


def _print_one(cascade: Cascade, one: Analysis) -> None:
    parts = "" if one.parts == (one.rank,) else f" as {' x '.join(one.parts)}"
    held = f"{one.held_words} words of a fibre held, {one.state_words} of sums and running values"
    plain = [
        ("passes", str(one.count)),
        ("rank", f"{one.rank}{parts}, {one.size} of it in {one.fibres} fibres"),
        ("live", f"{one.footprint}: {held}"),
        ("words", f"{one.words}, {si(one.bytes, 'B')}"),
    ]  # fmt: skip
    passes = [
        [str(p.number), "all" if p.full else "parts",
         *(" ".join(names) or "-" for names in (p.einsums, p.reads, p.writes))]
        for p in one.passes
    ]  # fmt: skip
    traffic = [
        [t.name, str(t.elements), str(t.reads), str(t.writes), str(t.words)] for t in one.tensors
    ]
    write(
        f"{cascade.name}\n",
        facts(plain),
        table([("visit", ">"), ("of", "<"), ("Einsums", "~"), ("reads", "~"), ("writes", "~")],
              [("", passes)]),
        table([("tensor", "<"), ("elements", ">"), ("reads", ">"), ("writes", ">"),
               ("words", ">")], [("", traffic)]),
    )  # fmt: skip
