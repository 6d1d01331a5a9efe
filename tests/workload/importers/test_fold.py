"""Folding finds the layers of a flat graph, and changes nothing of what it computes."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from accelsim.workload import Workload, model_names, totals, validate, weight_elements, workload
from accelsim.workload.author import Graph, Value
from accelsim.workload.graph import Block
from accelsim.workload.importers._fold import fold
from tests.workload.test_serial import usual_phase
from tests.workload.unrolled import unroll


@pytest.mark.parametrize("model", model_names())
def test_an_unrolled_model_folds_to_the_same_work(model: str) -> None:
    """Written out and folded, a model has its totals, its parameters, and few operators."""
    phase = usual_phase(model)
    if phase is None:
        pytest.skip(f"{model} has no single pass")
    built = workload(model, phase)
    flat = unroll(built)
    found = fold(*flat)
    again = replace(built, blocks=found.blocks, inputs=found.inputs, outputs=found.outputs)
    assert validate(again)
    assert totals(again) == totals(built)
    assert weight_elements(again) == weight_elements(built)
    assert sum(1 for _ in again.operators()) <= sum(1 for _ in built.operators())
    assert max(b.count for b in again.blocks) >= max(b.count for b in built.blocks) - 1


def layer(g: Graph, x: Value, width: int = 8) -> Value:
    h = g.gelu(g.linear(g.layer_norm(x), 4 * width))
    return g.add(x, g.linear(h, width))


def built(g: Graph, *outputs: Value) -> Workload:
    g.output(*outputs)
    return g.build()


def shape_of(found: Workload) -> list[tuple[int, int]]:
    return [(block.count, len(block.operators)) for block in found.blocks]


def only_repeated(found: Workload) -> Block:
    (block,) = (block for block in found.blocks if block.count > 1)
    return block


def test_a_layer_begins_where_one_activation_crosses() -> None:
    """An addition before the first layer, like the one that ends each, stays outside."""
    g = Graph("net")
    x = g.add(g.input("a", (4, 8)), g.input("b", (4, 8)))
    for _ in range(6):
        x = layer(g, x)
    found = built(g, x)
    assert shape_of(found) == [(1, 1), (6, 5)]
    assert len(only_repeated(found).carry) == 1


def test_what_is_read_later_splits_a_run() -> None:
    """Features tapped in the middle, as a depth head does, end a repeated block there."""
    g = Graph("net")
    x, taps = g.input("x", (4, 8)), []
    for number in range(9):
        x = layer(g, x)
        if number % 3 == 2:
            taps.append(x)
    found = built(g, g.concat(taps))
    assert [block.count for block in found.blocks if len(block.operators) == 5] == [3, 3, 3]


def test_what_all_repetitions_read_is_shared() -> None:
    """A bias that is computed once, and a weight that all layers use, stay single."""
    g = Graph("net")
    x, mask = g.input("x", (4, 8)), g.relu(g.input("m", (4, 8)))
    weight = g.weight("tied", (8, 8))
    for _ in range(5):
        x = g.gelu(g.linear(g.add(x, mask), 8, weight=weight))
        x = g.linear(g.layer_norm(x), 8)
    found = built(g, x)
    block = only_repeated(found)
    assert block.count == 5
    assert "tied" in block.shared
    assert found.parameters == 64 + 5 * (64 + 16)


def test_an_input_read_again_later_keeps_its_name() -> None:
    """A skip connection from before the layers to after them reads what it read."""
    g = Graph("net")
    given = x = g.input("x", (4, 8))
    for _ in range(6):
        x = layer(g, x)
    found = built(g, g.add(x, given))
    assert "x" in found.inputs
    assert found.blocks[-1].operators[-1].inputs[1] == "x"
    assert totals(found).macs == 6 * 2 * 4 * 8 * 32


def test_a_stream_that_starts_from_a_long_skip_gets_a_name_of_its_own() -> None:
    """What a block of one makes may flow on under two names."""
    g = Graph("net")
    start = x = g.relu(g.input("x", (4, 8)))
    for _ in range(6):
        x = layer(g, x)
    found = built(g, g.mul(x, start))
    assert shape_of(found) == [(1, 1), (6, 5), (1, 1)]
    last = found.blocks[-1].operators[-1]
    assert last.inputs[0] != last.inputs[1]


def test_outputs_of_every_layer_stay_outputs() -> None:
    """What each repetition gives the host is one output of the repeated block."""
    g = Graph("net")
    x = g.input("x", (4, 8))
    for _ in range(6):
        x = layer(g, x)
        g.output(g.softmax(x))
    found = built(g, x)
    assert only_repeated(found).count == 6


def test_layers_that_differ_do_not_fold() -> None:
    """Other sizes are other layers."""
    g = Graph("net")
    x = g.input("x", (4, 8))
    for width in (16, 32, 64, 128):
        x = g.gelu(g.linear(g.layer_norm(x), width))
    assert shape_of(built(g, x)) == [(1, 12)]


def test_layers_that_flow_otherwise_do_not_fold() -> None:
    """The same operators in the same order are no repetition if they read something else."""
    g = Graph("net")
    first = x = g.input("x", (4, 8))
    for number in range(4):
        h = g.gelu(g.linear(g.layer_norm(x), 8))
        x = g.add(h, first if number % 2 else x)
    found = built(g, x)
    assert all(block.count in (1, 2) for block in found.blocks)
    assert totals(found).macs == 4 * 4 * 8 * 8


def test_alternating_layers_fold_by_pairs() -> None:
    """A pattern of two kinds of layer is one body of both."""
    g = Graph("net")
    x = g.input("x", (4, 8))
    for number in range(8):
        x = layer(g, x) if number % 2 else g.add(x, g.silu(g.linear(g.rms_norm(x), 8)))
    assert (4, 9) in shape_of(built(g, x))


def test_a_large_graph_folds_in_a_second() -> None:
    """Four thousand operators, as the recording of a large mixture of experts has."""
    g = Graph("net")
    x = g.input("x", (4, 8))
    for _ in range(800):
        x = layer(g, x)
    g.output(x)
    start = time.perf_counter()
    assert only_repeated(g.build()).count == 800
    assert time.perf_counter() - start < 5
