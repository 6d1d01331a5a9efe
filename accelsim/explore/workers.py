"""Evaluates tasks in this process, or in worker processes of which any may die at any time.

Both executors hand back rows in lists as they come, each worth one transaction, and take tasks
from a lazy iterator only as they need them: memory stays flat however many there are.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from ctypes import Array, c_longlong
from dataclasses import dataclass
from itertools import islice
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Final, Protocol

from accelsim.errors import AccelsimError
from accelsim.explore.outcome import EvaluatePoint, Task, blank_row, evaluate_point, row_of
from accelsim.explore.store import Row

__all__ = ["Executor", "Processes", "Serial", "available_cores"]

CHUNK_S: Final = 0.1
"""Aim for the duration of one chunk: below 0.05 s the pool's own cost (60 µs) begins to show."""

MAX_CHUNK: Final = 2000
"""Points in a chunk at most: bounds memory where points take microseconds."""

CHUNKS_PER_WORKER: Final = 2
"""One at work and one waiting, so that no worker idles while its rows are written."""

_ONE_THREAD: Final = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Executor(Protocol):
    """What runs a sweep's tasks."""

    def map(self, tasks: Iterable[Task]) -> Iterator[list[Row]]:
        """Yield the rows of all tasks, in lists, in any order."""

    def salvage(self) -> list[Row]:
        """Return rows that are finished and were not yielded yet, after an interruption."""

    def close(self) -> None:
        """End, without waiting for what is still at work."""


def available_cores() -> int:
    """Return how many cores this process may use: by affinity and by the container's quota."""
    affine = getattr(os, "sched_getaffinity", None)
    cores = len(affine(0)) if affine else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


class Serial:
    """Evaluates one point after the other in this process."""

    def __init__(self, evaluate: EvaluatePoint, code: str) -> None:
        self._evaluate, self._code = evaluate, code
        self._rows: list[Row] = []

    def map(self, tasks: Iterable[Task]) -> Iterator[list[Row]]:
        """Yield the rows of all tasks, in order."""
        started = perf_counter()
        for task in tasks:
            self._rows.append(row_of(self._evaluate, task, self._code))
            if perf_counter() - started > CHUNK_S or len(self._rows) == MAX_CHUNK:
                yield self.salvage()
                started = perf_counter()
        if self._rows:
            yield self.salvage()

    def salvage(self) -> list[Row]:
        """Return rows that are finished and were not yielded yet."""
        rows, self._rows = self._rows, []
        return rows

    def close(self) -> None:
        """Nothing to end."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    tasks: list[Task]
    slot: int  # where its worker notes which task it is at, counting from 1


class Processes:
    """Evaluates chunks of points in worker processes.

    A worker that dies (killed, out of memory, crashed) breaks the whole pool.  Then each point
    that a worker was at is evaluated alone: the one that kills again becomes a failed row.  All
    else that was in flight is evaluated once more, on all workers.

    Parameters
    ----------
    jobs : int
        Number of workers.
    evaluate : callable
        Importable by its name in a new process.
    code : str
        Version that the rows state.
    """

    def __init__(self, jobs: int, evaluate: EvaluatePoint, code: str) -> None:
        self._jobs, self._evaluate, self._code = jobs, evaluate, code
        self._context = _context(evaluate)
        # The last place says that workers should stop before their next point.
        slots = jobs * CHUNKS_PER_WORKER
        self._at: Array[c_longlong] = self._context.RawArray(c_longlong, slots + 1)
        self._free = list(range(slots))
        self._flying: dict[Future[tuple[list[Row], float]], _Chunk] = {}
        self._lost: list[_Chunk] = []
        self._again: list[list[Task]] = []
        self._length, self._point_s = 1, 0.0
        self._idle = True
        self._start()

    def map(self, tasks: Iterable[Task]) -> Iterator[list[Row]]:
        """Yield the rows of all tasks, chunk by chunk as they finish."""
        remaining = iter(tasks)
        self._idle = False
        vain = 0
        while True:
            yield from self._fly(remaining)
            if not self._lost:
                self._idle = True
                return
            suspects = self._suspects()
            vain = 0 if suspects else vain + 1
            if vain > 2:
                raise AccelsimError("worker processes keep dying before they reach a point")
            self._restart()
            for task in suspects:
                yield [self._alone(task)]

    def salvage(self) -> list[Row]:
        """Return rows that are finished and were not yielded yet."""
        finished = [f for f in self._flying if f.done() and not f.cancelled()]
        return [row for f in finished if not f.exception() for row in f.result()[0]]

    def close(self) -> None:
        """End the workers, after the point that each is at.

        They must not be killed at work: half a result in the pipe would block the pool for good.
        """
        if not self._idle:
            self._at[_HALT] = 1
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._stop.close()

    def _start(self) -> None:
        # Workers end when the other end of this pipe closes: on `close`, and if we are killed.
        reader, self._stop = self._context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(
            self._jobs,
            mp_context=self._context,
            initializer=_begin_work,
            initargs=(reader, self._at),
        )
        try:
            self._pool.submit(os.getpid).result()
        except BrokenProcessPool:
            raise AccelsimError(
                "worker processes cannot start: a script that starts a sweep needs the line"
                " `if __name__ == '__main__':` around it; or run with jobs=1"
            ) from None

    def _restart(self) -> None:
        self._stop.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._start()

    def _submit(self, chunk: _Chunk) -> Future[tuple[list[Row], float]]:
        self._at[chunk.slot] = 0
        return self._pool.submit(
            _evaluate_chunk, self._evaluate, chunk.tasks, self._code, chunk.slot
        )

    def _fly(self, tasks: Iterator[Task]) -> Iterator[list[Row]]:
        """Yield rows until the tasks end or a worker dies; `_lost` then holds what was flying."""
        while not self._lost:
            while self._free:
                taken = self._again.pop() if self._again else list(islice(tasks, self._length))
                if not taken:
                    break
                chunk = _Chunk(taken, self._free.pop())
                try:
                    self._flying[self._submit(chunk)] = chunk
                except (BrokenProcessPool, OSError) as error:
                    # A worker died.  If the pool was just starting another, its pipes were closed
                    # under that: an OSError, while everything in flight fails as broken.
                    wait(self._flying)
                    if isinstance(error, OSError) and not self._is_broken():
                        raise
                    self._lost.append(chunk)
                    break
            if not self._flying:
                return
            yield from self._land()

    def _is_broken(self) -> bool:
        """Return whether something in flight has failed because a worker died."""
        return any(isinstance(f.exception(), BrokenProcessPool) for f in self._flying if f.done())

    def _land(self) -> Iterator[list[Row]]:
        done, _ = wait(self._flying, return_when=FIRST_COMPLETED)
        if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
            done, _ = wait(self._flying)  # the pool is failing all of them now
        for future in done:
            chunk = self._flying.pop(future)
            try:
                rows, seconds = future.result()
            except BrokenProcessPool:
                self._lost.append(chunk)
                continue
            self._free.append(chunk.slot)
            self._adapt(seconds / len(rows))
            yield rows

    def _adapt(self, point_s: float) -> None:
        """Choose the next chunk's length; the first point is slow, for it loads the kernels."""
        self._point_s = (self._point_s + point_s) / 2 if self._length > 1 else point_s
        fitting = int(CHUNK_S / max(self._point_s, 1e-9))
        self._length = max(1, min(fitting, 4 * self._length, MAX_CHUNK))

    def _suspects(self) -> list[Task]:
        """Return the tasks that workers were at; put aside the others for another try."""
        suspects: list[Task] = []
        for chunk in self._lost:
            at = self._at[chunk.slot]
            suspects += chunk.tasks[at - 1 : at] if at else []
            others = chunk.tasks[: at - 1] + chunk.tasks[at:] if at else chunk.tasks
            self._again += [others] if others else []
            self._free.append(chunk.slot)
        self._lost = []
        return suspects

    def _alone(self, task: Task) -> Row:
        """Evaluate one task with no other at work, so that a death can only be its own."""
        try:
            return self._submit(_Chunk([task], 0)).result()[0][0]
        except BrokenProcessPool:
            self._restart()
            text = "the worker process died on this point (killed, out of memory, or crashed)"
            return blank_row(task, self._code, "failed", text)


def _context(evaluate: EvaluatePoint) -> multiprocessing.context.BaseContext:
    """Return how to start workers: never by fork, which kills children after a parallel kernel.

    The fork server imports what evaluates points once; each worker then starts in milliseconds.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    default = evaluate is evaluate_point
    heavy = "accelsim.evaluation" if default else evaluate.__module__
    context.set_forkserver_preload([__name__, heavy])
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # the server reads them as it starts
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value
    return context


_AT: Final[list[Array[c_longlong]]] = []  # in a worker: the parent's `Processes._at`
_HALT: Final = -1


def _begin_work(stop: Connection, at: Array[c_longlong]) -> None:
    """Prepare a worker process."""
    _AT[:] = [at]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # one worker for each core already
    threading.Thread(target=_end_with, args=(stop,), daemon=True).start()


def _end_with(stop: Connection) -> None:
    """End this process when the parent closes its end of the pipe, or dies."""
    with suppress(EOFError, OSError):
        stop.recv_bytes()
    os._exit(0)


def _evaluate_chunk(
    evaluate: EvaluatePoint, tasks: list[Task], code: str, slot: int
) -> tuple[list[Row], float]:
    """Return the rows of a chunk's tasks and how long they took; note the task that is at work."""
    started, at = perf_counter(), _AT[0]
    rows: list[Row] = []
    for number, task in enumerate(tasks, 1):
        if at[_HALT]:
            break  # nobody waits for these rows any more
        at[slot] = number
        rows.append(row_of(evaluate, task, code))
    at[slot] = 0
    return rows, perf_counter() - started
