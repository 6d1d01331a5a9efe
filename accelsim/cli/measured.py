"""``accelsim import measured``: a public data set of measured latencies as one common table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelsim.cli._output import facts, place, write, writing
from accelsim.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["import_measured"]

_SUFFIXES = (".csv", ".csv.gz", ".parquet")


def _formats(incomplete: str) -> list[str]:
    from accelsim import registry

    return [name for name in registry.names("dataset") if name.startswith(incomplete)]


def import_measured(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", autocompletion=_formats,
            help="aiconfigurator, deepbench, llmcompass, llmservingsim, neusight or vidur.",
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="A checkout of the repository, or its data.")],
    out: Annotated[Path, typer.Option(help="Table of operators: .csv, .csv.gz or .parquet.")],
    end_to_end: Annotated[
        Path | None, typer.Option(help="Table of whole models, where the data set has them.")
    ] = None,
) -> None:  # fmt: skip
    """Read measured latencies in a public data set's own format into the common table."""
    from accelsim import registry

    for path, option in ((out, "--out"), (end_to_end, "--end-to-end")):
        if path is not None and not path.name.endswith(_SUFFIXES):
            raise ConfigError(
                f"found `{path}`", path=option, hint=f"one of {', '.join(_SUFFIXES)}"
            )
    found = registry.module("dataset", form).read(folder)
    _save(found.table, out)
    rows = [["files read", str(found.files)], ["operators", str(len(found.table))]]
    rows += [[f"left out: {reason}", str(count)] for reason, count in found.dropped.items()]
    flags = found.table["flag"].astype(str)
    rows += [[f"flag {f}", str(int((flags == f).sum()))] for f in sorted(set(flags) - {""})]
    if len(found.end_to_end):
        rows.append(["end to end", str(len(found.end_to_end))])
    if end_to_end is not None:
        _save(found.end_to_end, end_to_end)
    write(f"{place(out)}: {form}\n", facts(rows))
    if len(found.end_to_end) and end_to_end is None:
        write("`--end-to-end FILE` writes the measurements of whole models, too\n")


def _save(table: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all; its ending says how."""
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            try:
                table.to_parquet(partial, index=False)
            except ImportError:
                raise MissingExtraError("pyarrow", "parquet", "writing a Parquet file") from None
        else:
            packed = path.suffix == ".gz"
            table.to_csv(partial, index=False, compression="gzip" if packed else None)
        partial.replace(path)
