"""What a measurement was taken on: device, driver, clocks, libraries, host, command, commit.

Clocks are watched by `nvidia-smi` in a process of its own where it exists; nothing is ever set.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from accelsim._version import __version__

__all__ = ["ClockWatch", "Clocks", "cpu_name", "describe", "free_memory_bytes", "write_session"]

_QUERY: Final = ("clocks.sm", "clocks.mem", "power.draw", "temperature.gpu")
_STATIC: Final = (
    "name", "driver_version", "vbios_version", "memory.total", "power.limit", "clocks.max.sm",
    "clocks.max.mem", "persistence_mode", "ecc.mode.current", "mig.mode.current",
)  # fmt: skip


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def free_memory_bytes() -> float:
    """Return the host memory that a new allocation may take; infinite where it is not known."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable"):
                return float(line.split()[1]) * 1024
    return float("inf")


def _ask(*command: str, folder: Path | None = None) -> str:
    """Return what a command prints; empty where it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=20, cwd=folder, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _gpu_facts(device_id: str) -> dict[str, str]:
    text = _ask(
        "nvidia-smi", f"--id={device_id}", f"--query-gpu={','.join(_STATIC)}",
        "--format=csv,noheader",
    )  # fmt: skip
    cells = [cell.strip() for cell in text.splitlines()[0].split(",")] if text else []
    return dict(zip(_STATIC, cells, strict=True)) if len(cells) == len(_STATIC) else {}


def describe(
    device: Mapping[str, Any], arguments: Sequence[str], device_id: str = ""
) -> dict[str, Any]:
    """Return the facts of a session.

    Parameters
    ----------
    device : mapping
        What the back-end says of device and libraries.
    arguments : sequence of str
        The command's arguments.
    device_id : str
        Index or UUID for `nvidia-smi`; empty for a CPU.
    """
    here = Path(__file__).resolve().parent
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": " ".join(["accelsim", "measure", *arguments]),
        "accelsim": __version__,
        "commit": _ask("git", "rev-parse", "HEAD", folder=here) or None,
        "changed": bool(_ask("git", "status", "--porcelain", "--", ".", folder=here)),
        "host": {
            "cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.platform(),
            "python": sys.version.split()[0],
        },
        "device": dict(device),
        "nvidia_smi": _gpu_facts(device_id) if device_id else {},
    }  # fmt: skip


def write_session(table: Path, name: str, facts: Mapping[str, Any]) -> Path:
    """Add or replace a session in the table's companion file; return its path.

    The file is ``<table>.env.yaml`` and maps the values of the column ``session`` to their facts.
    """
    path = table.with_name(table.name + ".env.yaml")
    known = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    known = {**(known or {}), name: dict(facts)}
    partial = path.with_name(path.name + ".partial")
    partial.write_text(yaml.safe_dump(known, sort_keys=False, width=98), encoding="utf-8")
    partial.replace(path)
    return path


@dataclass(frozen=True)
class Clocks:
    """Medians seen while something ran: SM and memory clock in MHz, board power in W."""

    sm_mhz: float
    mem_mhz: float
    power_w: float


class ClockWatch:
    """Reads clocks and power every 0.2 s in the background until it is closed."""

    def __init__(self, device_id: str) -> None:
        self._samples: list[tuple[float, float, float, float, float]] = []
        self._process: subprocess.Popen[str] | None = None
        if not device_id or shutil.which("nvidia-smi") is None:
            return
        command = [
            "nvidia-smi", f"--id={device_id}", f"--query-gpu={','.join(_QUERY)}",
            "--format=csv,noheader,nounits", "--loop-ms=200",
        ]  # fmt: skip
        with suppress(OSError):
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        for line in self._process.stdout:
            self.take(line, time.monotonic())

    def take(self, line: str, at_s: float) -> None:
        """Keep one line of `nvidia-smi`; what the board does not report is not a number."""
        cells = [_number(cell) for cell in line.split(",")]
        if len(cells) == len(_QUERY):
            self._samples.append((at_s, cells[0], cells[1], cells[2], cells[3]))

    def seen(self, since_s: float) -> Clocks | None:
        """Return the medians since a time of `time.monotonic`, else the last; None if none."""
        if not self._samples:
            return None
        taken = [sample for sample in self._samples if sample[0] >= since_s]
        columns = list(zip(*(taken or self._samples[-1:]), strict=True))
        return Clocks(*(statistics.median(column) for column in columns[1:4]))

    def overall(self) -> dict[str, dict[str, float]]:
        """Return least, median and greatest of each value over the session."""
        if not self._samples:
            return {}
        columns = list(zip(*self._samples, strict=True))[1:]
        return {
            name: {"min": min(c), "median": statistics.median(c), "max": max(c)}
            for name, c in zip(_QUERY, columns, strict=True)
        }

    def close(self) -> None:
        """Stop watching."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
            self._process = None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
