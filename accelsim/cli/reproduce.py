"""``accelsim reproduce``: runs papers' sweeps and studies; sets published figures beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelsim.cli._options import Json
from accelsim.cli._output import place, print_json, table, write, writing
from accelsim.errors import ConfigError

if TYPE_CHECKING:
    from accelsim.explore.published import Reproduction

__all__ = ["reproduce"]

DEFAULT_FOLDER = Path("reports/papers")
"""Where rows are kept, and what ``--all`` writes."""


def _papers(incomplete: str) -> list[str]:
    from accelsim.explore.papers import paper_files

    return [name for name in paper_files() if name.startswith(incomplete)]


def reproduce(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[PAPER]", help="A name or YAML file.", autocompletion=_papers),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All papers, and write the report of each.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Worker processes; all cores if not given."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of rows and reports; writes the report."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Evaluate again the points that failed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a paper's sweeps and studies; print for each figure the paper's value and ours."""
    from accelsim.explore.papers import load_paper, paper_files
    from accelsim.explore.published import reproduce as run_paper

    if (name is None) != everything:
        known = ", ".join(paper_files())
        raise ConfigError("either the name of a paper or --all is needed", hint=f"papers: {known}")
    papers = [load_paper(one) for one in ([name] if name else paper_files())]
    folder = output or DEFAULT_FOLDER
    found = []
    for paper in papers:
        found.append(run_paper(paper, folder, jobs=jobs, quiet=as_json, retry_failed=retry_failed))
        if not as_json:
            _print(found[-1])
    files: list[Path] = []
    if everything or output:
        from accelsim.report.papers import write_papers

        with writing(folder):
            files = write_papers(found, folder)
    if as_json:
        print_json({"papers": [_data(one) for one in found], "files": files})
    else:
        write(*(place(file) for file in files))
    if any(one.counts["done"] == 0 for one in found):
        raise typer.Exit(2)


def _data(one: Reproduction) -> dict[str, Any]:
    return {
        "name": one.paper.name,
        "title": one.paper.title,
        "counts": dict(one.counts),
        "wall_s": one.wall_s,
        "figures": [
            {
                "name": a.figure.name, "published": a.figure.published, "ours": a.ours,
                "ratio": a.ratio, "tier": a.figure.tier, "points": a.points,
                "source": a.figure.source, "why": " ".join(a.figure.why.split()),
                "reason": a.reason,
            }
            for a in one.answers
        ],
        "not_reproduced": one.paper.not_reproduced,
    }  # fmt: skip


def _print(one: Reproduction) -> None:
    from accelsim.report.papers import percent_off, shown_value

    paper = one.paper
    counts = ", ".join(f"{n:,} {status}" for status, n in one.counts.most_common())
    write(f"{paper.title}\n{paper.source}\n{counts}; {one.wall_s:.1f} s\n")
    rows = [
        [
            a.figure.name, shown_value(a.figure.published, saving=a.figure.saving),
            shown_value(a.ours, saving=a.figure.saving),
            percent_off(a.ratio), a.figure.tier,
            a.reason or " ".join(a.figure.why.split()),
        ]
        for a in one.answers
    ]  # fmt: skip
    heads = [("figure", "~"), ("paper", ">"), ("ours", ">"), ("off", ">"), ("tier", "<"),
             ("why", "~")]  # fmt: skip
    write(table(heads, [("", rows)]))
    for text, n in one.reasons.most_common(3):
        write(f"{n:,} points without a result: {text.splitlines()[0][:160]}")
    for figure, why in paper.not_reproduced.items():
        write(f"not reproduced: {figure}: {' '.join(why.split())}")
