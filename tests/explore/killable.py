"""Runs a sweep as a process of its own, to be killed, interrupted or starved of disk space.

``python -m tests.explore.killable CODE STORE EVALUATOR JOBS [LARGEST_FILE_BYTES]`` in a library
folder.  CODE is the code's version as the test knows it: its keys must not differ from the test's
because somebody edits a file of the package meanwhile.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from accelsim.errors import StoreError
from accelsim.explore import SweepSpec, identity, run, runner
from tests.explore import evaluators
from tests.explore.conftest import sweep


def killable_sweep() -> SweepSpec:
    """320 points, some excluded."""
    return sweep(
        space={"batch": {"from": 1, "to": 40, "step": 1}},
        where=[{"require": "batch * seq_len <= 9000", "reason": "cache"}],
    )


def main(code: str, store: str, evaluator: str, jobs: str, largest_file_bytes: str = "") -> int:
    identity.code_version = runner.code_version = lambda: code  # type: ignore[assignment]
    if largest_file_bytes:
        limit = int(largest_file_bytes)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        run(
            killable_sweep(),
            store=Path(store),
            jobs=int(jobs),
            evaluate_point=getattr(evaluators, evaluator),
        )
    except KeyboardInterrupt as stopped:
        print(stopped)
        return 130
    except StoreError as error:
        print(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
