"""Making task graphs, and refusing wrong ones by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from accelsim.engine import TaskGraph, check, from_edges, task_graph
from accelsim.errors import GraphError
from accelsim.testing.graphs import task_graphs


def chain(**columns: Any) -> TaskGraph:
    return from_edges([0, 1, 0], [5, 3, 4], [(0, 1), (1, 2)], **columns)


def test_defaults_are_neutral() -> None:
    """What is not given changes nothing: one server, no owner, zero elsewhere."""
    graph = task_graph([0, 1], [5, 3], [0, 0, 1], [0])
    assert (
        graph.priority.tolist() == graph.release_ps.tolist() == graph.size_bytes.tolist() == [0, 0]
    )
    assert graph.energy_pj.tolist() == [0.0, 0.0]
    assert graph.owner.tolist() == [-1, -1]
    assert graph.servers.tolist() == [1, 1]
    assert graph.resource_names == ("resource 0", "resource 1")


def test_columns_are_cast() -> None:
    """Lists and narrow arrays arrive in the engine's types."""
    graph = chain(priority=np.array([1, 2, 3], np.int8), energy_pj=[1, 2, 3], owner=[0, 0, 1])
    assert graph.resource.dtype == graph.owner.dtype == graph.servers.dtype == np.int32
    assert graph.priority.dtype == graph.duration_ps.dtype == np.int64
    assert graph.energy_pj.dtype == np.float64


def test_number_of_resources_follows_from_the_names() -> None:
    """A resource without tasks exists when it has a name."""
    assert chain(resource_names=["array", "dram", "link"]).servers.tolist() == [1, 1, 1]


def test_arrays_are_read_only() -> None:
    """A graph cannot be edited under a schedule that was made of it."""
    with pytest.raises(ValueError, match="read-only"):
        chain().duration_ps[0] = 1


def test_callers_array_stays_writable() -> None:
    """Making a graph does not lock the array it was made of."""
    duration = np.array([5, 3], np.int64)
    task_graph([0, 0], duration, [0, 0, 0], [])
    duration[0] = 6


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("priority", [0.5, 1, 2]),
        ("release_ps", [0, float("nan"), 0]),
        ("owner", [0, 2**31, 0]),
        ("size_bytes", [0, 2**63, 0]),
        ("priority", ["high", "low", "low"]),
    ],
)
def test_value_that_is_no_integer_of_the_type_is_refused(name: str, values: list[Any]) -> None:
    """Nothing is rounded or wrapped in silence."""
    with pytest.raises(GraphError, match=f"^{name}: "):
        chain(**{name: values})


def test_predecessors_of_a_task() -> None:
    """Edges arrive at their successor, in the order given."""
    graph = from_edges([0] * 4, [1] * 4, [(2, 3), (0, 1), (1, 3)])
    assert [graph.predecessors(task).tolist() for task in range(4)] == [[], [0], [], [2, 1]]


def test_edge_to_a_missing_task_is_refused() -> None:
    """An edge needs a task to end in."""
    with pytest.raises(GraphError, match=r"edge 0 -> 3: task 3 does not exist"):
        from_edges([0, 0], [1, 1], [(0, 3)])


@given(task_graphs())
def test_drawn_graphs_are_legal(graph: TaskGraph) -> None:
    """The strategy draws what `check` accepts."""
    check(graph)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"duration_ps": np.array([1, 2])}, r"duration_ps: has 2 entries, needs 3"),
        ({"priority": np.zeros(3)}, r"priority: needs a contiguous int64 vector"),
        ({"priority": np.zeros(6, np.int64)[::2]}, r"priority: needs a contiguous int64 vector"),
        ({"pred_indptr": np.array([0, 1, 2])}, r"pred_indptr: has 3 entries, needs 4"),
        ({"pred_indptr": np.array([0, 2, 1, 2])}, r"pred_indptr: must rise .* not at 1"),
        ({"pred_indptr": np.array([0, 0, 1, 1])}, r"pred_indptr: must rise from 0 to 2"),
        ({"pred_indptr": np.array([0, 9, 9, 2])}, r"pred_indptr: must rise .* not at 0"),
        ({"pred_indptr": np.array([-1, 0, 1, 2])}, r"pred_indptr: must rise from 0"),
        ({"resource_names": ("array",)}, r"resource_names: has 1 names, needs 2"),
        ({"servers": np.array([1, 0], np.int32)}, r"resource 1: has 0 servers"),
        ({"resource": np.array([0, 2, 0], np.int32)}, r"task 1: its resource 2 does not exist"),
        ({"resource": np.array([0, -1, 0], np.int32)}, r"task 1: its resource -1 does not"),
        ({"duration_ps": np.array([5, 3, -4])}, r"task 2: its duration is negative, -4 ps"),
        ({"release_ps": np.array([-5, 3, 4])}, r"task 0: its release is negative, -5 ps"),
        ({"pred_indices": np.array([0, 3])}, r"task 2: its predecessor 3 does not exist"),
        ({"pred_indices": np.array([-1, 0])}, r"task 1: its predecessor -1 does not exist"),
    ],
)
def test_fault_is_named(change: dict[str, Any], message: str) -> None:
    """Each wrong array is refused with the task, resource or array at fault."""
    with pytest.raises(GraphError, match=message):
        check(replace(chain(), **change))


@pytest.mark.parametrize(
    ("duration_ps", "release_ps"),
    [
        ([2**62, 2**62 - 1, 1], [0, 0, 0]),
        ([1, 1, 1], [2**63 - 3, 0, 0]),
        ([2, 0, 0], [0, 0, 2**63 - 2]),
    ],
)
def test_time_beyond_int64_is_refused(duration_ps: list[int], release_ps: list[int]) -> None:
    """The sum of durations and the last release, a bound on any end, must fit int64."""
    graph = from_edges([0, 0, 0], duration_ps, [], release_ps=release_ps)
    with pytest.raises(GraphError, match=r"exceeds 2\^63 - 1 ps"):
        check(graph)


def test_longest_time_is_accepted() -> None:
    """The bound itself is legal."""
    check(from_edges([0, 0], [2**62, 2**62 - 2], [], release_ps=[1, 0]))


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        ([(2, 2)], "2 -> 2"),
        ([(4, 7), (7, 4)], "4 -> 7 -> 4"),
        ([(0, 5), (5, 3), (3, 9), (9, 5), (9, 1)], "3 -> 9 -> 5 -> 3"),
    ],
)
def test_cycle_is_spelt_out(edges: list[tuple[int, int]], cycle: str) -> None:
    """Task numbers in the order of precedence, without what merely leads in or out."""
    with pytest.raises(GraphError, match=f"^cycle: {cycle}$"):
        check(from_edges([0] * 10, [1] * 10, edges))


def test_long_cycle_is_abridged() -> None:
    """A ring of 1,000 tasks fits a line, and says how much it leaves out."""
    ring = [(task, (task + 1) % 1_000) for task in range(1_000)]
    with pytest.raises(
        GraphError, match=r"^cycle: 0 -> .* \.\.\. \(976 more\) \.\.\. .* 999 -> 0$"
    ):
        check(from_edges([0] * 1_000, [1] * 1_000, ring))


def test_representation_is_short() -> None:
    """A graph prints as its size."""
    assert repr(chain()) == "TaskGraph(3 tasks, 2 edges, 2 resources)"
