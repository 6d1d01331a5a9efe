"""Random task graphs that make every rule of the engines decide something.

Times are few and small, so that instants coincide; priorities tie; precedence does not follow
task numbers; tasks may take no time; an edge may be there twice.
"""

from __future__ import annotations

from hypothesis import strategies as st

from accelsim.engine import TaskGraph, from_edges

__all__ = ["task_graphs"]

# The extremes of int64 and their neighbours: a key that is packed too tightly shows on these.
_PRIORITIES = (-(2**63), -1, 0, 0, 0, 1, 2**31, 2**63 - 1)


@st.composite
def task_graphs(
    draw: st.DrawFn, *, max_tasks: int = 16, max_resources: int = 3, max_servers: int = 3
) -> TaskGraph:
    """Draw acyclic task graphs, the empty one among them.

    Parameters
    ----------
    max_tasks, max_resources, max_servers : int
        Largest number of tasks, of resources, and of servers of a resource.

    Returns
    -------
    hypothesis.strategies.SearchStrategy of TaskGraph
        Graphs that `accelsim.engine.check` accepts.

    Examples
    --------
    >>> from hypothesis import given
    >>> from accelsim.engine import simulate, verify
    >>> @given(task_graphs())
    ... def engine_keeps_the_laws(graph):
    ...     verify(graph, simulate(graph))
    """
    n = draw(st.integers(0, max_tasks))
    r = draw(st.integers(1, max_resources))
    # Picoseconds, or up to two weeks: both far apart and at the same instant.
    longest = draw(st.sampled_from([1, 3, 2**60 // max(1, max_tasks)]))

    def column(values: st.SearchStrategy[int]) -> list[int]:
        return draw(st.lists(values, min_size=n, max_size=n))

    numbers = draw(st.permutations(range(n)))
    place = st.integers(0, max(0, n - 1))
    pairs = draw(st.lists(st.tuples(place, place), max_size=2 * n))
    edges = [(numbers[min(pair)], numbers[max(pair)]) for pair in pairs if pair[0] != pair[1]]
    return from_edges(
        column(st.integers(0, r - 1)),
        column(st.sampled_from([0, 1, longest]) | st.integers(0, longest)),
        edges,
        priority=column(st.sampled_from(_PRIORITIES)),
        release_ps=column(st.just(0) | st.integers(0, 6)),
        servers=draw(st.lists(st.integers(1, max_servers), min_size=r, max_size=r)),
    )
