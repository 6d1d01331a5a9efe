"""Emission of tasks: no chunk is lost; buffers, prefetch and links mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.engine import Schedule, TaskGraph, check, simulate, task_graph
from accelsim.lower import _emit

UNIT, MEMORY, HOST, LINK = 0, 1, 2, 3
Op = tuple[int, int, int, int]  # load, compute and store time, chunks


def program(
    ops: list[Op],
    *,
    producers: list[list[int]] | None = None,
    carried: list[list[int]] | None = None,
    groups: list[int] | None = None,
    repeats: int = 1,
    stages: int = 1,
    streams: int = 1,
    buffers: int = 2,
    prefetch: bool = True,
    send_ps: int = 0,
    input_loads: bool = False,
    pages: int = _emit.BUFFER_PAGES // 2,
) -> tuple[TaskGraph, _emit.Tasks]:
    """Return the task graph of one block of operators on one unit and one memory."""
    n = len(ops)
    which = _emit.LOAD_INPUT if input_loads else _emit.LOAD_WEIGHT
    table = np.zeros((n, _emit.OPERATOR_COLUMNS), np.int64)
    time = np.zeros((n + 1, _emit.KINDS_PER_OPERATOR), np.int64)
    for i, (load, compute, store, chunks) in enumerate(ops):
        table[i, : _emit.HAS] = UNIT, MEMORY, chunks, (groups or [0] * n)[i], pages
        time[i, which], time[i, _emit.COMPUTE], time[i, _emit.STORE] = load, compute, store
        table[i, _emit.HAS :] = time[i] > 0
    time[n] = send_ps
    lists = [producers or [[]] * n, carried or [[]] * n, [[]] * n]
    offsets = np.zeros((3, n + 1), np.int64)
    flat: list[int] = []
    for row, found in enumerate(lists):
        offsets[row, 0] = len(flat)
        for i, members in enumerate(found):
            flat += members
            offsets[row, i + 1] = len(flat)
    instances = [
        (0, int(r == 0), r * stages // repeats, stream)
        for stream in range(streams)
        for r in range(repeats)
    ]
    tasks = _emit.emit(
        _emit.Tables(
            table,
            offsets,
            np.array(flat, np.int64),
            np.array([0, n]),
            np.array(instances, np.int64),
            np.array([4, stages, streams, HOST, LINK, buffers, int(prefetch)], np.int64),
        )
    )
    owner, kind, part = tasks.task[[_emit.OWNER, _emit.KIND, _emit.CHUNK]]
    total, parts = time[owner, np.minimum(kind, 4)], np.append(table[:, _emit.CHUNKS], 1)[owner]
    graph = task_graph(
        tasks.task[_emit.RESOURCE], total * (part + 1) // parts - total * part // parts,
        tasks.indptr, tasks.indices, priority=tasks.task[_emit.PRIORITY], owner=owner,
        servers=np.ones(4 * stages, np.int64),
    )  # fmt: skip
    check(graph)
    return graph, tasks


def makespan(ops: list[Op], **options: object) -> int:
    graph, _ = program(ops, **options)  # type: ignore[arg-type]
    return simulate(graph).makespan_ps


def kind(tasks: _emit.Tasks, which: int, owner: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    table = tasks.task
    return np.flatnonzero((table[_emit.KIND] == which) & (table[_emit.OWNER] == owner))


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(1, 9)),
        min_size=1, max_size=4,
    ),
    st.integers(1, 3),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_every_chunk_of_every_kind_is_emitted_once(ops: list[Op], repeats: int) -> None:
    """Each repetition has each chunk of each kind of task that the operator has, once."""
    _, tasks = program(ops, repeats=repeats)
    for i, (load, _, store, chunks) in enumerate(ops):
        for which, there in ((_emit.LOAD_WEIGHT, load), (_emit.COMPUTE, 1), (_emit.STORE, store)):
            mine = kind(tasks, which, i)
            parts = tasks.task[[_emit.INSTANCE, _emit.CHUNK]][:, mine].T.tolist()
            wanted = [[r, c] for r in range(repeats) for c in range(chunks)] if there else []
            assert sorted(parts) == wanted


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_one_buffer_serialises_load_and_compute(load: int, compute: int, tiles: int) -> None:
    """Without double buffering a tile loads only when the one before has been computed."""
    assert makespan([(load * tiles, compute * tiles, 0, tiles)], buffers=1) == tiles * (
        load + compute
    )


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_two_buffers_overlap_all_but_the_ends(load: int, compute: int, tiles: int) -> None:
    """First load, then the slower of the two per tile, then the last compute."""
    expected = load + (tiles - 1) * max(load, compute) + compute
    assert makespan([(load * tiles, compute * tiles, 0, tiles)]) == expected


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from([4, 8, 16]))
@settings(max_examples=60, deadline=None)
def test_coalescing_tiles_errs_by_less_than_one_chunk(
    load: int, compute: int, chunks: int
) -> None:
    """Using c chunks for 16 c tiles costs at most min(load, compute) / c more, and never less."""
    tiles = 16 * chunks
    fine = makespan([(load * tiles, compute * tiles, 0, tiles)])
    coarse = makespan([(load * tiles, compute * tiles, 0, chunks)])
    assert 0 <= coarse - fine <= min(load, compute) * tiles / chunks


def test_weights_of_the_next_operator_load_during_compute() -> None:
    """Prefetch hides the second operator's load behind the first one's compute."""
    ops = [(10, 100, 0, 1), (50, 100, 0, 1)]
    assert makespan(ops, producers=[[], [0]]) == 10 + 100 + 100
    assert makespan(ops, producers=[[], [0]], prefetch=False) == 10 + 100 + 50 + 100


def test_prefetch_runs_ahead_only_as_far_as_the_buffer_has_room() -> None:
    """Where two chunks fill the buffer, the third one's load waits for the first one's compute."""
    ops = [(1, 100, 0, 1)] * 4
    graph, tasks = program(ops, producers=[[], [0], [1], [2]])
    starts = simulate(graph).start_ps
    assert [starts[kind(tasks, _emit.LOAD_WEIGHT, i)[0]] for i in range(4)] == [0, 1, 101, 201]


def test_a_larger_buffer_lets_loads_run_further_ahead() -> None:
    """Where a chunk takes a quarter of the buffer, the fifth load waits for the first compute."""
    ops = [(1, 100, 0, 1)] * 6
    producers = [[], [0], [1], [2], [3], [4]]
    graph, tasks = program(ops, producers=producers, pages=_emit.BUFFER_PAGES // 4)
    starts = simulate(graph).start_ps
    loads = [int(starts[kind(tasks, _emit.LOAD_WEIGHT, i)[0]]) for i in range(6)]
    assert loads == [0, 1, 2, 3, 101, 201]


def test_activations_load_only_after_their_producer_has_stored() -> None:
    """An input that went through memory comes back after it has arrived there."""
    ops = [(5, 100, 30, 2), (40, 100, 0, 2)]
    graph, tasks = program(ops, producers=[[], [0]], input_loads=True)
    schedule = simulate(graph)
    stored = schedule.end_ps[kind(tasks, _emit.STORE, 0)].max()
    assert schedule.start_ps[kind(tasks, _emit.LOAD_INPUT, 1)].min() >= stored


def test_repetitions_follow_each_other() -> None:
    """What a layer carries reaches the next: three layers take three times one."""
    ops = [(0, 7, 0, 1), (0, 5, 0, 1)]
    assert makespan(ops, producers=[[], [0]], carried=[[1], []], repeats=3) == 36


def test_linked_operators_run_chunk_by_chunk() -> None:
    """Score, softmax, context: a chunk waits for its own producer's chunk, not for the last."""
    ops = [(0, 40, 0, 4), (0, 40, 0, 4), (0, 40, 0, 4)]
    graph, tasks = program(ops, producers=[[], [0], [1]], groups=[1, 1, 1])
    schedule = simulate(graph)
    last_score = schedule.end_ps[kind(tasks, _emit.COMPUTE, 0)].max()
    first_context = schedule.start_ps[kind(tasks, _emit.COMPUTE, 2)].min()
    assert first_context < last_score


def by_stage(graph: TaskGraph, schedule: Schedule) -> list[int]:
    """Return when each stage's unit is first used."""
    return [int(schedule.start_ps[graph.resource == 4 * s].min()) for s in range(2)]


def test_a_pipeline_hands_over_between_stages() -> None:
    """Stage 1 starts after stage 0's layers and the send."""
    ops = [(0, 10, 0, 1)]
    graph, _ = program(ops, carried=[[0]], repeats=4, stages=2, send_ps=3)
    schedule = simulate(graph)
    assert by_stage(graph, schedule) == [0, 23]
    assert schedule.makespan_ps == 43


def test_micro_batches_overlap_on_pipeline_stages() -> None:
    """Two micro-batches on two equal stages take three stage times, and one send in between."""
    ops = [(0, 10, 0, 1)]
    graph, _ = program(ops, carried=[[0]], repeats=2, stages=2, streams=2, send_ps=1)
    assert simulate(graph).makespan_ps == 10 + 1 + 10 + 10


@pytest.mark.parametrize("engine", ["numba", "simpy"])
def test_both_engines_agree_on_an_emitted_graph(engine: str) -> None:
    """Lowered graphs have ties everywhere; the laws decide them alike."""
    ops = [(8, 12, 4, 4), (6, 6, 0, 3), (20, 8, 2, 5)]
    graph, _ = program(ops, producers=[[], [0], [0, 1]], carried=[[2], [], []], repeats=3)
    reference, schedule = simulate(graph), simulate(graph, engine)
    assert np.array_equal(reference.start_ps, schedule.start_ps)
    assert np.array_equal(reference.end_ps, schedule.end_ps)
