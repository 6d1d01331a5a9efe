"""Emits the tasks of every operator, chunk by chunk, straight into flat arrays.

Only the structure is made here: which task waits for which, on which resource.  It depends on
no duration, so it is kept and used again when a sweep changes nothing but sizes.  Compiled,
because lowering task by task in Python would cost more than simulating.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from accelsim.jit import kernel

Ints = npt.NDArray[np.int64]

# Task kinds.
LOAD_WEIGHT, LOAD_INPUT, COMPUTE, STORE, LAUNCH, SEND = 0, 1, 2, 3, 4, 5
KIND_NAMES = ("load weights", "load input", "compute", "store", "launch", "send")
KINDS_PER_OPERATOR = 5

# Columns of `Tables.operator`; the last five say whether the operator has tasks of each kind.
UNIT, MEMORY, CHUNKS, GROUP, PAGES, HAS = 0, 1, 2, 3, 4, 5
BUFFER_PAGES = 64
"""Pages that a unit's on-chip buffer is counted in; a chunk takes at least one."""
OPERATOR_COLUMNS = HAS + KINDS_PER_OPERATOR
HELD = 2
"""What `HAS + STORE` is where the memory is held beside the compute, in place of a store after."""
# Rows of `Tables.producers`: in this repetition of the block, in the one before, and (for the
# first repetition) in the blocks before.
HERE, SELF, PREVIOUS = 0, 1, 2
# Columns of `Tables.instances`.
BLOCK, FIRST, STAGE, STREAM = 0, 1, 2, 3
# Entries of `Tables.settings`.
STAGE_RESOURCES, STAGES, STREAMS, HOST, LINK, BUFFERS, PREFETCH = range(7)
# Columns of `Tasks.task`.
RESOURCE, OWNER, INSTANCE, KIND, CHUNK, PRIORITY = range(6)
# Entries of the cursor: next task, next edge, place in program order.
TASK, EDGE, ORDER = 0, 1, 2
# Column of `_State.recent` after the two of the loads.
COMPUTED = 2


class Tables(NamedTuple):
    """What runs where and waits for what.

    One row of `operator` per operator; producers as CSR; one row of `instances` per block
    repetition in program order: block, whether it is the block's first, pipeline stage and
    micro-batch.
    """

    operator: Ints  # (operators, OPERATOR_COLUMNS)
    producers: Ints  # (3, operators + 1): offsets into `producer`
    producer: Ints
    block_first: Ints  # (blocks + 1,): first operator of each block
    instances: Ints  # (instances, 4)
    settings: Ints


class Tasks(NamedTuple):
    """The emitted tasks and their predecessors (CSR)."""

    task: Ints  # (tasks, 6)
    indptr: Ints
    indices: Ints


class _State(NamedTuple):
    cursor: Ints  # next task, next edge, program order
    done: Ints  # (streams, operators): task that finishes the operator
    chunk_done: Ints  # (operators, chunks): the same per chunk
    recent: Ints  # (operators, 3): loads and compute of the last chunk
    stream: Ints  # (units, 1 + 2 BUFFER_PAGES): count, then compute tasks and pages of the last


@kernel
def _edge(tasks: Tasks, cursor: Ints, predecessor: int) -> None:
    if predecessor >= 0:
        tasks.indices[cursor[EDGE]] = predecessor
        cursor[EDGE] += 1


@kernel
def _close(
    tasks: Tasks, cursor: Ints, resource: int, owner: int, instance: int, kind: int, chunk: int
) -> int:
    """Write the task whose edges have just been written, and return its number."""
    n: int = cursor[TASK]
    table = tasks.task  # rows are indexed in place: a view would cost more than the write
    table[n, RESOURCE], table[n, OWNER], table[n, INSTANCE] = resource, owner, instance
    table[n, KIND], table[n, CHUNK], table[n, PRIORITY] = kind, chunk, cursor[ORDER]
    tasks.indptr[n + 1] = cursor[EDGE]
    cursor[TASK] = n + 1
    return n


@kernel
def _take_over(
    tables: Tables, tasks: Tasks, cursor: Ints, carry: Ints, op: int, i: int,
    sent: int,
) -> None:  # fmt: skip
    """Add edges to results of earlier instances, as they stand in `carry`, or to their send."""
    row = PREVIOUS if tables.instances[i, FIRST] == 1 else SELF
    start, stop = tables.producers[row, op], tables.producers[row, op + 1]
    if sent >= 0 and stop > start:
        _edge(tasks, cursor, sent)
        return
    for p in range(start, stop):
        _edge(tasks, cursor, carry[tables.producer[p]])


@kernel
def _wait(
    tables: Tables, tasks: Tasks, state: _State, carry: Ints, op: int,
    chunk: int, i: int, sent: int,
) -> None:  # fmt: skip
    """Add edges to the producers: of linked ones the same chunk, of the others all, once."""
    group = tables.operator[op, GROUP]
    for p in range(tables.producers[HERE, op], tables.producers[HERE, op + 1]):
        producer = tables.producer[p]
        if group > 0 and tables.operator[producer, GROUP] == group:
            _edge(tasks, state.cursor, state.chunk_done[producer, chunk])
        elif chunk == 0:
            _edge(tasks, state.cursor, state.done[tables.instances[i, STREAM], producer])
    if chunk == 0:
        _take_over(tables, tasks, state.cursor, carry, op, i, sent)


@kernel
def _freed(stream: Ints, unit: int, pages: int, buffers: int) -> int:
    """Return the compute task whose end makes room for a chunk of `pages`, -1 where there is room.

    Chunks leave the buffer in the order in which they came; at least `buffers` are held.
    """
    held = pages
    for back in range(1, min(stream[unit, 0], BUFFER_PAGES) + 1):
        slot = 1 + (stream[unit, 0] - back) % BUFFER_PAGES
        held += stream[unit, slot + BUFFER_PAGES]
        if back >= buffers and (held > BUFFER_PAGES or buffers == 1):
            task: int = stream[unit, slot]
            return task
    return -1


@kernel
def _loads(
    tables: Tables, tasks: Tasks, state: _State, carry: Ints, op: int,
    chunk: int, i: int, sent: int,
) -> int:  # fmt: skip
    """Emit a chunk's loads: after its buffer is free, and after producers unless prefetched."""
    table, settings = tables.operator, tables.settings
    base = tables.instances[i, STAGE] * settings[STAGE_RESOURCES]
    unit = base + table[op, UNIT]
    freed = _freed(state.stream, unit, table[op, PAGES], settings[BUFFERS])
    loads = 0
    for kind in range(2):
        if table[op, HAS + kind] == 0:
            continue
        _edge(tasks, state.cursor, freed)
        if kind == LOAD_INPUT or settings[PREFETCH] == 0:
            _wait(tables, tasks, state, carry, op, chunk, i, sent)
            if chunk > 0:
                _edge(tasks, state.cursor, state.recent[op, kind])
        state.recent[op, kind] = _close(
            tasks, state.cursor, base + table[op, MEMORY], op, i, kind, chunk
        )
        loads += 1
    return loads


@kernel
def _chunk(
    tables: Tables, tasks: Tasks, state: _State, carry: Ints, op: int,
    chunk: int, i: int, sent: int,
) -> None:  # fmt: skip
    """Emit one chunk of one operator: launch, loads, compute, store."""
    table, settings, cursor = tables.operator, tables.settings, state.cursor
    base = tables.instances[i, STAGE] * settings[STAGE_RESOURCES]
    launch = -1
    if chunk == 0 and table[op, HAS + LAUNCH] != 0:
        launch = _close(tasks, cursor, base + settings[HOST], op, i, LAUNCH, 0)
    loads = _loads(tables, tasks, state, carry, op, chunk, i, sent)
    if table[op, HAS + STORE] == HELD:
        _wait(tables, tasks, state, carry, op, chunk, i, sent)
        if chunk > 0:
            _edge(tasks, cursor, state.recent[op, COMPUTED])
        _close(tasks, cursor, base + table[op, MEMORY], op, i, STORE, chunk)
    _edge(tasks, cursor, launch)
    for kind in range(2):
        if table[op, HAS + kind] != 0:
            _edge(tasks, cursor, state.recent[op, kind])
    _wait(tables, tasks, state, carry, op, chunk, i, sent)
    if chunk > 0:
        _edge(tasks, cursor, state.recent[op, COMPUTED])
    unit = base + table[op, UNIT]
    compute = _close(tasks, cursor, unit, op, i, COMPUTE, chunk)
    if loads > 0:
        slot = 1 + state.stream[unit, 0] % BUFFER_PAGES
        state.stream[unit, slot] = compute
        state.stream[unit, slot + BUFFER_PAGES] = table[op, PAGES]
        state.stream[unit, 0] += 1
    finish = compute
    if table[op, HAS + STORE] == 1:
        _edge(tasks, cursor, compute)
        finish = _close(tasks, cursor, base + table[op, MEMORY], op, i, STORE, chunk)
    state.recent[op, COMPUTED] = compute
    state.chunk_done[op, chunk] = finish
    state.done[tables.instances[i, STREAM], op] = finish
    cursor[ORDER] += 1


@kernel
def _send(tables: Tables, tasks: Tasks, state: _State, i: int, from_stage: int) -> int:
    """Hand activations to instance `i`'s stage, after all that the instance waits for."""
    block, stream = tables.instances[i, BLOCK], tables.instances[i, STREAM]
    settings, cursor = tables.settings, state.cursor
    for op in range(tables.block_first[block], tables.block_first[block + 1]):
        _take_over(tables, tasks, cursor, state.done[stream], op, i, -1)
    link = from_stage * settings[STAGE_RESOURCES] + settings[LINK]
    task = _close(tasks, cursor, link, -1, i, SEND, 0)
    cursor[ORDER] += 1
    return task


@kernel
def _instance(tables: Tables, tasks: Tasks, state: _State, i: int, sent: int) -> None:
    """Emit one repetition of a block; linked operators run skewed by one chunk each."""
    block = tables.instances[i, BLOCK]
    carry = state.done[tables.instances[i, STREAM]].copy()
    op, end = tables.block_first[block], tables.block_first[block + 1]
    while op < end:
        group, members = tables.operator[op, GROUP], 1
        while group > 0 and op + members < end and tables.operator[op + members, GROUP] == group:
            members += 1
        chunks = tables.operator[op, CHUNKS]
        for step in range(chunks + members - 1):
            for member in range(max(0, step - chunks + 1), min(members, step + 1)):
                chunk = step - member
                _chunk(tables, tasks, state, carry, op + member, chunk, i, sent)
        op += members


@kernel
def _bounds(tables: Tables) -> tuple[int, int]:
    """Return upper bounds of the numbers of tasks and of edges."""
    tasks, edges = 1, 1
    for i in range(tables.instances.shape[0]):
        block = tables.instances[i, BLOCK]
        tasks += 1
        for op in range(tables.block_first[block], tables.block_first[block + 1]):
            waits = 0
            for row in range(3):
                waits += tables.producers[row, op + 1] - tables.producers[row, op]
            chunks = tables.operator[op, CHUNKS]
            tasks += 4 * chunks + 1
            edges += chunks * (3 * waits + 10) + waits
    return tasks, edges


@kernel
def _emit(tables: Tables) -> Tasks:
    n_max, e_max = _bounds(tables)
    tasks = Tasks(
        np.empty((n_max, 6), np.int64), np.zeros(n_max + 1, np.int64), np.empty(e_max, np.int64)
    )
    operators, settings = tables.operator.shape[0], tables.settings
    stream = np.zeros(
        (settings[STAGES] * settings[STAGE_RESOURCES], 1 + 2 * BUFFER_PAGES), np.int64
    )
    most = 1
    for op in range(operators):
        most = max(most, tables.operator[op, CHUNKS])
    state = _State(
        np.zeros(3, np.int64), np.full((settings[STREAMS], operators), -1, np.int64),
        np.full((operators, most), -1, np.int64), np.full((operators, 3), -1, np.int64), stream,
    )  # fmt: skip
    stage_before = np.full(settings[STREAMS], -1, np.int64)
    for i in range(tables.instances.shape[0]):
        stage, stream = tables.instances[i, STAGE], tables.instances[i, STREAM]
        sent = -1
        if stage_before[stream] >= 0 and stage_before[stream] != stage:
            sent = _send(tables, tasks, state, i, stage_before[stream])
        stage_before[stream] = stage
        _instance(tables, tasks, state, i, sent)
    n, e = state.cursor[TASK], state.cursor[EDGE]
    return Tasks(tasks.task[:n], tasks.indptr[: n + 1], tasks.indices[:e])


_KEPT: Final = 128
_structures: OrderedDict[tuple[bytes, ...], Tasks] = OrderedDict()


def emit(tables: Tables) -> Tasks:
    """Return all tasks in program order; the same arrays again for the same tables.

    Chunk c of an operator loads its weights and inputs, computes after the chunk before it, and
    stores.  A load waits until the unit's buffer has room; loads may run ahead that far.

    Parameters
    ----------
    tables : Tables
        Operators, producers, instances and settings.

    Returns
    -------
    Tasks
        Columns of `task` as contiguous rows: ``task[KIND]`` has the kind of every task.
    """
    key = tuple([array.tobytes() for array in tables])
    found = _structures.get(key)
    if found is None:
        made = _emit(tables)
        found = Tasks(np.ascontiguousarray(made.task.T), made.indptr, made.indices)
        _structures[key] = found
        if len(_structures) > _KEPT:
            _structures.popitem(last=False)
    else:
        _structures.move_to_end(key)
    return found
