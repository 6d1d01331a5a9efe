"""The command ``accelsim``: its subcommands, and what becomes of errors, Ctrl-C and closed pipes.

Exit status: 0 done, 2 for whatever the user can put right (bad input, a design that does not fit,
a full disk), 130 after Ctrl-C; a traceback means a bug.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from accelsim._version import __version__
from accelsim.cli.calibrate import calibrate
from accelsim.cli.commands import commands
from accelsim.cli.endtoend import endtoend
from accelsim.cli.fuse import fuse
from accelsim.cli.graph import graphs
from accelsim.cli.imports import imports
from accelsim.cli.library import list_names, show
from accelsim.cli.measure import measure
from accelsim.cli.measured_validation import measured
from accelsim.cli.nest import nest
from accelsim.cli.passes import passes
from accelsim.cli.reproduce import reproduce
from accelsim.cli.run import run
from accelsim.cli.schemas import schemas
from accelsim.cli.scratchpad import scratchpad
from accelsim.cli.sweep import merge, pareto, sweep
from accelsim.cli.trace import trace
from accelsim.cli.validate import cases, write_report, write_workload_report
from accelsim.errors import AccelsimError

__all__ = ["app", "main"]

INTERRUPTED, PIPE_CLOSED, REFUSED = 130, 141, 2
"""Exit statuses; the first two are what a shell reports of SIGINT and SIGPIPE."""


class _Commands(TyperGroup):
    """Runs a command and turns what it raises on purpose into a message and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            answer = super().invoke(ctx)
            sys.stdout.flush()
        except AccelsimError as error:
            _report(error)
            raise typer.Exit(REFUSED) from None
        except KeyboardInterrupt as interrupt:
            _say(str(interrupt) or "interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            if not _reader_is_gone():
                raise
            # What is left in the buffer must not fail again when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(PIPE_CLOSED) from None
        return answer


def _report(error: AccelsimError) -> None:
    if os.environ.get("ACCELSIM_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    _say(f"error: {error}")


def _say(text: str) -> None:
    print(f"accelsim: {text}", file=sys.stderr)


def _reader_is_gone() -> bool:
    """Say whether it was the output's pipe that broke, and not one to a worker process."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0))


app = typer.Typer(
    cls=_Commands,
    name="accelsim",
    help="Simulate hardware accelerators for machine-learning models and explore their designs.",
    epilog="Names are those of `accelsim list`; a path of a YAML file will do everywhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawn boxes would double the time that --help takes
    context_settings={"help_option_names": ["-h", "--help"]},
)
_checks = typer.Typer(
    help="Compare the models with reference figures.", no_args_is_help=True, rich_markup_mode=None
)
app.command(short_help="Evaluate one point, operator by operator.")(run)
app.command(short_help="Evaluate a design space; resume, draw its fronts.")(sweep)
app.command(short_help="Print and draw the Pareto front of a store.")(pareto)
app.command(short_help="Merge the stores of a sweep's shards.")(merge)
app.command(short_help="Run a paper's sweeps; compare its figures with ours.")(reproduce)
app.command(short_help="Write one point's timeline for ui.perfetto.dev.")(trace)
app.command(short_help="Draw a channel's commands for a product in memory.")(commands)
app.command(short_help="Map a model onto a spatial array, loop by loop.")(nest)
app.command(short_help="Fuse a cascade on an array; compare policies.")(fuse)
app.command(short_help="Plan a scratchpad: order, residence, addresses.")(scratchpad)
app.command(short_help="Measure operators and models on a GPU or CPU.")(measure)
app.command(short_help="Fit the GPU model to measured operators.")(calibrate)
app.command("list", short_help="List designs and kinds by name.")(list_names)
app.command(short_help="Show a design, each parameter with its source.")(show)
app.command(short_help="Count an algorithm's passes over its data.")(passes)
app.add_typer(imports, name="import")
app.add_typer(graphs, name="graph")
app.add_typer(_checks, name="validate")
_checks.command()(cases)
_checks.command()(measured)
_checks.command()(endtoend)
_checks.command("report")(write_report)
_checks.command("workloads")(write_workload_report)
app.command(short_help="Write JSON Schemas for editors.")(schemas)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"accelsim {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process unless given.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without Unicode shows `?`, not a traceback
            stream.reconfigure(errors="replace")
    app(args=None if arguments is None else list(arguments), prog_name="accelsim")
    raise SystemExit(0)
