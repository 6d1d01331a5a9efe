"""Both engines against the rule: by hand, against each other, and against its definition."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings

from accelsim.engine import (
    ENGINES,
    Schedule,
    TaskGraph,
    check,
    from_edges,
    simulate,
    task_graph,
    verify,
)
from accelsim.errors import GraphError, UnknownNameError
from accelsim.testing.graphs import task_graphs


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def defined(graph: TaskGraph) -> tuple[list[int], list[int]]:
    """Start and end of every task, straight from the definition, one round at a time."""
    n = graph.n_tasks
    predecessors = [set(graph.predecessors(task).tolist()) for task in range(n)]
    release, duration = graph.release_ps.tolist(), graph.duration_ps.tolist()
    start: dict[int, int] = {}
    ready: dict[int, int] = {}
    finished: set[int] = set()
    now = 0
    while True:
        finished |= {task for task in start if start[task] + duration[task] == now}
        for task in set(range(n)) - ready.keys():
            if predecessors[task] <= finished and release[task] <= now:
                ready[task] = now
        started = []
        for resource, servers in enumerate(graph.servers):
            mine = [task for task in ready if graph.resource[task] == resource]
            busy = [task for task in mine if task in start and task not in finished]
            waiting = [
                (int(graph.priority[task]), ready[task], task)
                for task in mine
                if task not in start
            ]
            started += [task for *_, task in sorted(waiting)[: servers - len(busy)]]
        start |= dict.fromkeys(started, now)
        if any(duration[task] == 0 for task in started):
            continue  # they end at this very instant: a further round
        to_come = [start[task] + duration[task] for task in start.keys() - finished]
        to_come += [time for time in release if time > now]
        if not to_come:
            starts = [start[task] for task in range(n)]
            return starts, [begin + length for begin, length in zip(starts, duration, strict=True)]
        now = min(to_come)


def starts(schedule: Schedule) -> list[int]:
    return schedule.start_ps.tolist()


# ---------------------------------------------------------------- properties


@given(task_graphs())
@settings(max_examples=300)
def test_engines_agree_on_every_task(graph: TaskGraph) -> None:
    """Readable and fast engine give the same start and end, to the picosecond."""
    slow, fast = simulate(graph, engine="simpy"), simulate(graph, engine="numba")
    assert slow.start_ps.tolist() == fast.start_ps.tolist()
    assert slow.end_ps.tolist() == fast.end_ps.tolist()


@given(task_graphs())
@settings(max_examples=300)
def test_engine_agrees_with_the_definition(graph: TaskGraph) -> None:
    """The fast engine does what the definition says, read literally."""
    schedule = simulate(graph)
    assert (schedule.start_ps.tolist(), schedule.end_ps.tolist()) == defined(graph)


@given(task_graphs(max_tasks=40, max_resources=6))
def test_schedule_keeps_the_laws(graph: TaskGraph) -> None:
    """No schedule starts a task early or runs more tasks than there are servers."""
    verify(graph, simulate(graph))


@pytest.mark.parametrize("seed", range(4))
def test_engines_agree_on_a_graph_with_long_queues(seed: int) -> None:
    """Deep heaps and many resources keep the rule too: 3,000 tasks in layers of 300."""
    rng = np.random.default_rng(seed)
    n, width = 3_000, 300
    successor = np.repeat(np.arange(width, n), 2)
    predecessor = (successor // width - 1) * width + rng.integers(0, width, successor.size)
    graph = from_edges(
        rng.integers(0, 2 + 10 * seed, n),
        rng.integers(0, 5, n),
        zip(predecessor.tolist(), successor.tolist(), strict=True),
        priority=rng.integers(0, 3, n),
        release_ps=np.where(rng.random(n) < 0.2, rng.integers(0, 2_000, n), 0),
        servers=rng.integers(1, 4, 2 + 10 * seed),
    )
    slow, fast = simulate(graph, engine="simpy"), simulate(graph, engine="numba")
    np.testing.assert_array_equal(slow.start_ps, fast.start_ps)
    np.testing.assert_array_equal(slow.end_ps, fast.end_ps)
    verify(graph, fast)


# ---------------------------------------------------------------- each law by hand


def test_successor_starts_when_its_predecessor_ends(engine: str) -> None:
    """A chain over two resources runs back to back."""
    graph = from_edges([0, 1, 0], [5, 3, 4], [(0, 1), (1, 2)])
    assert starts(simulate(graph, engine)) == [0, 5, 8]


def test_task_waits_for_the_last_of_its_predecessors(engine: str) -> None:
    """Task 2 needs both others, so the longer one decides."""
    graph = from_edges([0, 1, 2], [5, 9, 1], [(0, 2), (1, 2)])
    assert starts(simulate(graph, engine)) == [0, 0, 9]


def test_smaller_priority_starts_first(engine: str) -> None:
    """Priority goes before task number."""
    graph = from_edges([0, 0, 0], [2, 2, 2], [], priority=[3, -1, 2])
    assert starts(simulate(graph, engine)) == [4, 0, 2]


def test_priority_goes_before_ready_time(engine: str) -> None:
    """Task 2, ready later but of better priority, overtakes task 1; nothing is pre-empted."""
    graph = from_edges([0, 0, 0], [5, 2, 2], [], priority=[0, 1, 0], release_ps=[0, 0, 3])
    assert starts(simulate(graph, engine)) == [0, 7, 5]


def test_of_equal_priority_the_longer_ready_task_starts_first(engine: str) -> None:
    """Ready time goes before task number: task 1 came at 3, task 2 at 2."""
    graph = from_edges([0, 0, 0], [5, 2, 2], [], release_ps=[0, 3, 2])
    assert starts(simulate(graph, engine)) == [0, 7, 5]


def test_of_equal_ready_time_the_smaller_number_starts_first(engine: str) -> None:
    """Tasks 1 and 2 become ready at 4, woken in the order 2, 1: the number decides."""
    graph = from_edges([1, 0, 0, 2], [4, 1, 1, 4], [(3, 1), (0, 2)])
    assert starts(simulate(graph, engine)) == [0, 4, 5, 0]


def test_ready_time_is_when_the_last_condition_came_true(engine: str) -> None:
    """Task 1's predecessor ends at 4 but its release is 6; task 2 is ready at 5 and goes first."""
    graph = from_edges([1, 0, 0, 0], [4, 1, 1, 8], [(0, 1)], release_ps=[0, 6, 5, 0])
    assert starts(simulate(graph, engine)) == [0, 9, 8, 0]


def test_release_before_the_predecessors_end_changes_nothing(engine: str) -> None:
    """A release that has passed does not delay."""
    graph = from_edges([0, 1], [5, 1], [(0, 1)], release_ps=[0, 3])
    assert starts(simulate(graph, engine)) == [0, 5]


def test_nothing_runs_before_its_release(engine: str) -> None:
    """An idle resource waits for the release."""
    graph = from_edges([0], [5], [], release_ps=[7])
    assert starts(simulate(graph, engine)) == [7]


def test_all_completions_come_before_any_start(engine: str) -> None:
    """At 4 tasks 0 and 1 end together: task 3 wakes in time to beat the waiting task 2."""
    graph = from_edges([0, 1, 0, 0], [4, 4, 1, 1], [(1, 3)], priority=[0, 0, 1, 0])
    assert starts(simulate(graph, engine)) == [0, 0, 5, 4]


def test_releases_come_before_any_start(engine: str) -> None:
    """At 4 task 0 ends and task 2 is released: it beats the waiting task 1."""
    graph = from_edges([0, 0, 0], [4, 1, 1], [], priority=[0, 1, 0], release_ps=[0, 0, 4])
    assert starts(simulate(graph, engine)) == [0, 5, 4]


def test_zero_length_task_ends_in_a_further_round(engine: str) -> None:
    """Task 1 takes no time; task 3, which it wakes at 0, comes after task 2 has started."""
    graph = from_edges([1, 1, 0, 0], [0, 0, 5, 1], [(1, 3)], priority=[0, 0, 9, 0])
    assert starts(simulate(graph, engine)) == [0, 0, 0, 5]


def test_rounds_of_one_instant_share_their_ready_time(engine: str) -> None:
    """Tasks 0 and 2 are ready at 0, task 0 only in the second round, and the number decides."""
    graph = from_edges([0, 1, 0, 0], [1, 0, 1, 5], [(1, 0)], priority=[0, 0, 0, -1])
    assert starts(simulate(graph, engine)) == [5, 0, 6, 0]


def test_zero_length_task_needs_a_server(engine: str) -> None:
    """It waits as long as any other task for a busy resource."""
    graph = from_edges([0, 0], [5, 0], [])
    assert starts(simulate(graph, engine)) == [0, 5]


def test_chain_of_zero_length_tasks_takes_no_time(engine: str) -> None:
    """Round follows round at the same instant."""
    graph = from_edges([0, 1, 0, 1], [0, 0, 0, 7], [(0, 1), (1, 2), (2, 3)])
    assert simulate(graph, engine).end_ps.tolist() == [0, 0, 0, 7]


def test_servers_run_side_by_side(engine: str) -> None:
    """Two servers take tasks 0 and 1; task 2 takes whichever is free first."""
    graph = from_edges([0, 0, 0], [5, 3, 4], [], servers=[2])
    assert starts(simulate(graph, engine)) == [0, 0, 3]


def test_predecessor_listed_twice_counts_once(engine: str) -> None:
    """A doubled edge neither blocks nor frees a task early."""
    graph = from_edges([0, 1], [5, 1], [(0, 1), (0, 1)])
    assert starts(simulate(graph, engine)) == [0, 5]


def test_more_servers_than_memory_has_bytes(engine: str) -> None:
    """A resource without contention may claim any number of servers."""
    graph = from_edges([0, 0], [5, 3], [], servers=[2**31 - 1])
    assert starts(simulate(graph, engine)) == [0, 0]


def test_times_reach_the_end_of_int64(engine: str) -> None:
    """The largest legal time is exact: no float has touched it."""
    longest = 2**63 - 3
    graph = from_edges([0, 0], [longest, 1], [(0, 1)], release_ps=[1, 0])
    assert simulate(graph, engine).end_ps.tolist() == [longest + 1, longest + 2]


def test_empty_graph_takes_no_time(engine: str) -> None:
    """No tasks, no resources, makespan 0."""
    assert simulate(task_graph([], [], [0], []), engine).makespan_ps == 0


# ---------------------------------------------------------------- refusals and loading


def test_cycle_is_named(engine: str) -> None:
    """Tasks 1 and 3 wait for each other; 0 precedes and 2 follows them."""
    graph = from_edges([0] * 4, [1] * 4, [(0, 1), (1, 3), (3, 1), (3, 2)])
    with pytest.raises(GraphError, match=r"^cycle: 1 -> 3 -> 1$"):
        simulate(graph, engine)


def test_dangling_predecessor_is_named(engine: str) -> None:
    """An index beyond the tasks is refused before any engine follows it."""
    graph = task_graph([0, 0], [1, 1], [0, 0, 1], [7])
    with pytest.raises(GraphError, match=r"task 1: its predecessor 7 does not exist"):
        simulate(graph, engine)


def test_unknown_engine_is_answered_with_the_nearest() -> None:
    """A typo gets the right spelling."""
    with pytest.raises(UnknownNameError, match="did you mean `numba`"):
        simulate(from_edges([0], [1], []), engine="nunba")


def test_graph_may_come_from_another_process(engine: str) -> None:
    """A pickled graph, whose arrays have become writable, gives the same schedule."""
    graph = pickle.loads(pickle.dumps(from_edges([0, 1, 0], [5, 3, 4], [(0, 1), (1, 2)])))
    check(graph)
    assert starts(simulate(graph, engine)) == [0, 5, 8]


def test_import_is_light() -> None:
    """Neither Numba nor SimPy is loaded before an engine runs."""
    code = "import sys, accelsim.engine as e; print({'numba', 'simpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
