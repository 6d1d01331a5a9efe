"""``accelsim sweep``, ``pareto`` and ``merge``: evaluate a design space, see its best designs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelsim.cli._options import Json
from accelsim.cli._output import facts, place, print_json, write

if TYPE_CHECKING:
    from accelsim.explore import SweepRun

__all__ = ["merge", "pareto", "sweep"]

CAUSES = 8
"""Causes of points without a result that are printed; the column `error` has every reason."""


def _sweeps(incomplete: str) -> list[str]:
    from accelsim.config import library

    return [name for name in library.names("sweeps") if name.startswith(incomplete)]


def sweep(
    name: Annotated[
        str, typer.Argument(metavar="SWEEP", help="A name or YAML file.", autocompletion=_sweeps)
    ],
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Worker processes; all cores if not given."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the results.")
    ] = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Evaluate the I-th of every N points, to be merged.")
    ] = "1/1",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Evaluate again the points that failed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Evaluate every point of a sweep; resume where an earlier run stopped; draw the fronts."""
    from accelsim.explore import load_sweep, parse_shard
    from accelsim.explore import run as evaluate_points

    spec = load_sweep(name)
    if output is not None:
        spec = spec.model_copy(update={"output": str(output)})
    part = parse_shard(shard)
    tally = evaluate_points(spec, jobs=jobs, shard=part, retry_failed=retry_failed, quiet=as_json)
    files: list[Path] = []
    remark = "a shard: `accelsim merge` joins its store with the others"
    if part == (1, 1):
        from accelsim.cli._reports import write_reports

        files, remark = write_reports(spec, tally.store)
    if as_json:
        print_json(_data(tally, files))
    else:
        _print(tally, files, remark)
    if not tally.counts["done"]:
        raise typer.Exit(2)


def _data(tally: SweepRun, files: list[Path]) -> dict[str, object]:
    return {
        "name": tally.name, "store": tally.store, "points": tally.points,
        "counts": dict(tally.counts), "evaluated": tally.evaluated, "resumed": tally.resumed,
        "reasons": [
            {"status": status, "reason": reason, "points": number}
            for (status, reason), number in tally.reasons.most_common()
        ],
        "wall_s": tally.wall_s, "files": files,
    }  # fmt: skip


def _print(tally: SweepRun, files: list[Path], remark: str) -> None:
    counts = ", ".join(f"{number:,} {status}" for status, number in tally.counts.most_common())
    write(
        f"{tally.name}: {tally.points:,} points, {counts}; {tally.evaluated:,} evaluated in"
        f" {tally.wall_s:.1f} s, {tally.resumed:,} known before\n"
    )
    causes = Counter[tuple[str, str]]()
    for (status, reason), number in tally.reasons.items():
        causes[status, _cause(status, reason)] += number
    if causes:
        most = causes.most_common(CAUSES)
        rows = [[f"{number:,} {status}", cause] for (status, cause), number in most]
        rows += (
            [["", "... and more; the results have a column `error`"]]
            if len(causes) > CAUSES
            else []
        )
        write(facts(rows))
    write(*(place(file) for file in (tally.store, *files)))
    if remark:
        write(remark)


def _cause(status: str, reason: str) -> str:
    """Return what many reasons have in common: of a memory that is too small, which it is."""
    return reason.partition(": needs ")[0] + " is too small" if status == "infeasible" else reason


def pareto(
    store: Annotated[Path, typer.Argument(help="Results store, or the folder of points.sqlite.")],
    name: Annotated[
        str | None,
        typer.Option(
            "--sweep",
            help="Take points, objectives and groups from a sweep.",
            autocompletion=_sweeps,
        ),
    ] = None,
    minimise: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="Objective; repeatable.")
    ] = None,
    maximise: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="Objective; repeatable.")
    ] = None,
    per: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS", help="A front of its own for each value; repeatable."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; that of the store if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the Pareto front of a results store, and draw it."""
    from accelsim.cli._reports import chosen, print_front, write_front_files
    from accelsim.explore.pareto import front

    file = store / "points.sqlite" if store.is_dir() else store
    spec, frame = chosen(file, name, minimise or [], maximise or [], per)
    best = front(frame, spec.objectives, spec.front_per)
    files = write_front_files(frame, spec, output or file.parent)
    if as_json:
        rows = best.astype(object).where(best.notna(), None).to_dict("records")
        print_json({"objectives": spec.objectives, "per": spec.front_per, "front": rows,
                    "designs": len(frame), "files": files})  # fmt: skip
        return
    print_front(best, spec)
    write(*(place(made) for made in files))


def merge(
    target: Annotated[Path, typer.Argument(help="Store that receives the rows; made if absent.")],
    sources: Annotated[list[Path], typer.Argument(help="Stores to copy from, such as shards.")],
    as_json: Json = False,
) -> None:
    """Copy into one store the rows of others that it does not have."""
    from contextlib import ExitStack

    from accelsim.explore import Store
    from accelsim.explore import merge as copy_rows

    with ExitStack() as opened:  # the sources first: a missing one must leave no new target
        parts = [opened.enter_context(Store(source, read_only=True)) for source in sources]
        whole = opened.enter_context(Store(target))
        copied = copy_rows(whole, parts)
        total = len(whole)
    if as_json:
        print_json({"store": target, "copied": copied, "rows": total})
        return
    write(f"{place(target)}: {copied:,} rows copied, {total:,} in all")
