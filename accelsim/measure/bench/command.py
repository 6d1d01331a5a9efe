"""What `accelsim measure` and `python3 -m accelsim.measure` do: one suite into one table.

Exit status: 0 all cases are in the table, 3 the time ended before them (run the same again), 2 bad
input, 4 the device stopped answering, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from accelsim.errors import AccelsimError, ConfigError, MissingExtraError, nearest
from accelsim.measure.bench.case import Case
from accelsim.measure.bench.environment import ClockWatch, describe, write_session
from accelsim.measure.bench.progress import Progress
from accelsim.measure.bench.session import Outcome, Plan, run
from accelsim.measure.bench.suites import about, names, suite
from accelsim.measure.bench.table import FINAL, Table
from accelsim.measure.bench.timing import CLOCKS, DeviceLost, Limits

if TYPE_CHECKING:
    from accelsim.measure.bench.torch_backend.backend import TorchBackend

__all__ = [
    "DONE", "INTERRUPTED", "LOST", "MORE", "REFUSED", "Options", "export_graphs", "main",
    "measure",
]  # fmt: skip

DONE, REFUSED, MORE, LOST, INTERRUPTED = 0, 2, 3, 4, 130

_DEFAULT_CLOCKS: Final = {"cuda": ("graph", "events"), "cpu": ("wall",)}
_DEFAULT_CALL_S: Final = {"cuda": 10.0, "cpu": 0.5}


@dataclass(frozen=True)
class Options:
    """What the command line asks for; empty strings and None are the defaults of the device.

    Parameters
    ----------
    suite : str
        Name of a suite.
    device : str
        ``cuda``, ``cpu``, or empty for CUDA where torch sees it.
    out : Path, optional
        Table; ``reports/measured/<device>-<suite>.csv`` unless given.
    budget_s : float
        Wall-clock seconds, set-up included, after which no case is begun.
    clock : str
        Comma-separated keys of `CLOCKS`.
    l2 : str
        ``cold`` or ``warm``.
    ops, dtypes : str
        Comma-separated operators and number formats; empty for all.
    limit : int
        Most cases; 0 for all.
    retry : str
        Comma-separated statuses to measure again: ``error``, ``skip``, ``wrong``.
    seconds : float
        Longest time that one clock of one case samples.
    max_call_s : float, optional
        Cases of which one call would take longer are skipped.
    threads : int
        Threads of the CPU; 0 leaves torch its own number.
    """

    suite: str
    device: str = ""
    out: Path | None = None
    budget_s: float = float("inf")
    clock: str = ""
    l2: str = "cold"
    ops: str = ""
    dtypes: str = ""
    limit: int = 0
    retry: str = ""
    seconds: float = 0.5
    max_call_s: float | None = None
    threads: int = 0


def measure(options: Options, arguments: Sequence[str] = ()) -> int:
    """Measure a suite and return the exit status.

    Parameters
    ----------
    options : Options
        What to do.
    arguments : sequence of str
        The command's arguments, for the record.

    Raises
    ------
    AccelsimError
        If an option is wrong, the table cannot be written, or torch is missing.
    """
    begun = time.monotonic()
    _require("--l2", options.l2, ("cold", "warm"))
    retry = _words("--retry", options.retry, FINAL)
    clocks = _words("--clock", options.clock, CLOCKS)
    if options.device:
        _require("--device", options.device, _DEFAULT_CLOCKS)
    cases = _chosen(options, options.device or "cuda")
    device = options.device or _present_device()
    clocks = clocks or _DEFAULT_CLOCKS[device]
    slowest = options.max_call_s or _DEFAULT_CALL_S[device]
    backend = _backend(device, Limits(seconds=options.seconds), slowest, options.threads)
    path = options.out or Path("reports", "measured", f"{device}-{options.suite}.csv")
    session = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    watch = ClockWatch(backend.device_id)
    try:
        with Table(path, retry) as table:
            _say_repaired(table)
            facts = describe(backend.describe(), arguments, backend.device_id)
            write_session(path, session, facts)
            left = options.budget_s - (time.monotonic() - begun)
            plan = Plan(clocks, options.l2, left, slowest, session)
            progress = Progress(len(cases))
            try:
                found = run(
                    cases, backend, table, plan, clocks_seen=watch.seen,
                    progress=progress,
                )  # fmt: skip
            finally:
                progress.close()
                write_session(path, session, facts | {"clocks_seen": watch.overall()})
    except DeviceLost as lost:
        _say(f"the device stopped answering: {lost}")
        return LOST
    finally:
        watch.close()
    _say(_summary(found, path))
    return MORE if found.remaining else DONE


def _chosen(options: Options, device: str) -> list[Case]:
    found = suite(options.suite, device)
    ops = _words("--ops", options.ops, {case.op for case in found})
    dtypes = _words("--dtypes", options.dtypes, {case.dtype for case in found})
    found = [c for c in found if (not ops or c.op in ops) and (not dtypes or c.dtype in dtypes)]
    return found[: options.limit] if options.limit else found


def _words(option: str, text: str, legal: Collection[str]) -> tuple[str, ...]:
    words = tuple(word for word in text.split(",") if word)
    for word in words:
        _require(option, word, legal)
    return words


def _require(option: str, word: str, legal: Collection[str]) -> None:
    if word not in legal:
        raise ConfigError(f"`{word}` is not possible", path=option, hint=nearest(word, legal))


def _present_device() -> str:
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "torch", "measuring") from None
    return "cuda" if torch.cuda.is_available() else "cpu"


def _backend(device: str, limits: Limits, max_call_s: float, threads: int) -> TorchBackend:
    try:
        from accelsim.measure.bench.torch_backend.backend import TorchBackend
    except ImportError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("torch", "torch", "measuring") from None
    return TorchBackend(device, limits, max_call_s, threads)


def _say_repaired(table: Table) -> None:
    if table.dropped_bytes:
        _say(f"{table.path}: dropped a torn line of {table.dropped_bytes} bytes at its end")


def _summary(found: Outcome, path: Path) -> str:
    counted = Counter(found.rows)
    rows = ", ".join(f"{counted[name]} {name}" for name in sorted(counted)) or "no new rows"
    text = f"{path}: {rows}; {found.already} cases were there; {found.spent_s:.0f} s"
    if found.remaining:
        text += f"; {found.remaining} cases remain: run the same command again"
    return text


def _say(text: str) -> None:
    sys.stderr.write(f"accelsim: {text}\n")


def _parser() -> argparse.ArgumentParser:
    suites = "\n".join(f"  {name:10} {text}" for name, text in about().items())
    parser = argparse.ArgumentParser(
        prog="python3 -m accelsim.measure", description=__doc__,
        epilog=f"suites:\n{suites}", formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("suite", metavar="SUITE", help=f"one of {', '.join(names())}")
    parser.add_argument("--device", default="", help="cuda or cpu; cuda where torch sees it")
    parser.add_argument("--out", type=Path, help="CSV table to append to")
    parser.add_argument("--budget-s", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--clock", default="", help=f"of {', '.join(CLOCKS)}, by commas")
    parser.add_argument("--l2", default="cold", help="cold or warm")
    parser.add_argument("--ops", default="", help="only these operators, by commas")
    parser.add_argument("--dtypes", default="", help="only these number formats, by commas")
    parser.add_argument("--limit", type=int, default=0, help="at most so many cases")
    parser.add_argument("--retry", default="", help="measure again: error, skip, wrong")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="of sampling per case and clock"
    )
    parser.add_argument("--max-call-s", type=float, help="skip cases slower than this")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0: torch's own number")
    parser.add_argument("--write-graphs", action="store_true", help="export the library's graphs")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line of a plain checkout and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        read = vars(_parser().parse_args(given))
        if read.pop("write_graphs"):
            return export_graphs()
        return measure(Options(**read), given)
    except AccelsimError as error:
        _say(f"error: {error}")
        return REFUSED
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on from here")
        return INTERRUPTED


def export_graphs() -> int:
    """Write the graphs of the suite `models` from the workload library; return the exit status."""
    from accelsim.measure.bench.export import write_graphs

    _say(str(write_graphs()))
    return DONE
