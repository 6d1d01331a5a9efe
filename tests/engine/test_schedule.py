"""`verify` catches each broken law; busy time and makespan are what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.engine import Schedule, busy_ps, from_edges, verify
from accelsim.errors import ConservationError

GRAPH = from_edges(
    [0, 0, 1], [4, 4, 0], [(0, 2)], release_ps=[0, 2, 0], resource_names=["array", "dram"]
)


def schedule(start: list[int], end: list[int]) -> Schedule:
    return Schedule(np.array(start), np.array(end))


def test_legal_schedule_passes() -> None:
    """A schedule need not be the engine's to be legal: this one idles."""
    verify(GRAPH, schedule([0, 10, 5], [4, 14, 5]))


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ([0, 4], [4, 8], r"schedule of 2 starts and 2 ends for 3 tasks"),
        ([0, 4, 4], [4, 9, 4], r"task 1 takes 4 ps but runs from 4 to 9 ps"),
        ([4, 0, 8], [8, 4, 8], r"task 1 starts at 0 ps, before its release at 2 ps"),
        ([0, 4, 3], [4, 8, 3], r"task 2 starts at 3 ps, before its predecessor 0 ends at 4 ps"),
        ([2, 2, 6], [6, 6, 6], r"array is busy for 8 ps on 1 server\(s\) within 6 ps"),
        ([6, 9, 10], [10, 13, 10], r"array runs 2 tasks at once at 9 ps on 1 server"),
    ],
)
def test_broken_law_is_named(start: list[int], end: list[int], message: str) -> None:
    """Duration, release, precedence, time of a resource, and servers at once."""
    with pytest.raises(ConservationError, match=message):
        verify(GRAPH, schedule(start, end))


def test_tasks_back_to_back_do_not_overlap() -> None:
    """An end and a start at the same instant share a server."""
    verify(GRAPH, schedule([0, 4, 4], [4, 8, 4]))


def test_zero_length_task_overlaps_nothing() -> None:
    """It may sit at an instant at which its server changes hands."""
    graph = from_edges([0, 0, 0], [4, 0, 4], [])
    verify(graph, schedule([0, 4, 4], [4, 4, 8]))


def test_each_resource_counts_its_own_tasks() -> None:
    """Tasks on different resources, or on enough servers, may overlap."""
    graph = from_edges([0, 1, 1], [4, 4, 4], [], servers=[1, 2])
    verify(graph, schedule([0, 0, 1], [4, 4, 5]))


def test_busy_time_is_summed_by_resource() -> None:
    """Server-picoseconds, exact beyond 2^53 and 0 for an unused resource."""
    graph = from_edges([0, 0], [2**60, 1], [], servers=[2, 1])
    assert busy_ps(graph, schedule([0, 0], [2**60, 1])).tolist() == [2**60 + 1, 0]


def test_makespan_is_the_last_end() -> None:
    """Not the end of the last task by number."""
    assert schedule([0, 3, 0], [5, 9, 1]).makespan_ps == 9
