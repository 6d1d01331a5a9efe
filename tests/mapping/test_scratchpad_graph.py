"""Workloads as scratchpad problems: blocks unrolled, weights streamed or not, in-place steps."""

from __future__ import annotations

import pytest

from accelsim.errors import UnknownNameError
from accelsim.mapping.scratchpad import (
    Problem,
    allocate,
    largest_footprint_bytes,
    live_peak_bytes,
    scratchpad_problem,
)
from accelsim.workload import (
    Dtypes,
    Workload,
    decode,
    forward,
    load_model,
    prefill,
    totals,
    validate,
    workload,
)
from accelsim.workload.author import Graph

INT8 = Dtypes(weight="int8", activation="int8")


def two_layers() -> Workload:
    """Return two layers with a residual each: norm, product, activation, product, sum."""
    g = Graph("mlp", forward(1), INT8)
    x = g.input("x", (1, 64))
    for _ in range(2):
        h = g.relu(g.linear(g.rms_norm(x), 256, bias=False))
        x = g.add(x, g.linear(h, 64, bias=False))
    g.output(x)
    return g.build()


def names(problem: Problem) -> list[str]:
    return [task.name.rpartition("/")[2] for task in problem.tasks]


def test_repeated_blocks_are_unrolled_with_weights_of_their_own() -> None:
    built = two_layers()
    assert [block.count for block in built.blocks] == [2]
    problem = scratchpad_problem(built, weights="resident", fold=False)
    assert len(problem.tasks) == 10
    weights = [s for s in problem.storages if s.name.endswith("weight")]
    assert len(weights) == 6
    assert sum(s.size_bytes for s in weights) == 2 * (2 * 64 * 256 + 64)
    outputs = [s.size_bytes for s in problem.storages if s.kept]
    assert outputs == [64]
    assert problem.compulsory_bytes == 64 + 64 + 2 * (2 * 64 * 256 + 64)


def test_streamed_weights_take_no_room_and_count_all_the_same() -> None:
    built = two_layers()
    resident = scratchpad_problem(built, weights="resident")
    streamed = scratchpad_problem(built, weights="streamed")
    assert streamed.compulsory_bytes == resident.compulsory_bytes
    assert streamed.streamed_bytes == totals(built).weight_read_bytes
    assert largest_footprint_bytes(streamed) < largest_footprint_bytes(resident)


def test_what_overwrites_its_only_operand_becomes_part_of_what_makes_it() -> None:
    """The activation does; the norm, whose operand the residual needs, and the sum do not."""
    problem = scratchpad_problem(two_layers())
    plain = scratchpad_problem(two_layers(), fold=False)
    assert len(plain.tasks) - len(problem.tasks) == 2
    assert not any("relu" in name for name in names(problem))
    assert problem.compulsory_bytes == plain.compulsory_bytes
    assert live_peak_bytes(problem, range(8)) < live_peak_bytes(plain, range(10))


def test_a_network_of_images_moves_its_inputs_weights_and_outputs() -> None:
    """ResNet-18's compulsory bytes: image, weights and logits, one byte each."""
    model = load_model("resnet18", {"dtypes.activation": "int8", "dtypes.weight": "int8"})
    problem = scratchpad_problem(workload(model, forward(1)), weights="resident")
    assert problem.compulsory_bytes == 3 * 224 * 224 + 11_689_512 + 1000
    plan = allocate(problem, live_peak_bytes(problem, range(len(problem.tasks))))
    assert plan.noncompulsory_bytes == 0


def test_resnet50_needs_what_a_public_port_of_the_paper_found() -> None:
    """2352 KiB for the largest operator's activations, one byte each (docs/scratchpad.md)."""
    model = load_model("resnet50", {"dtypes.activation": "int8", "dtypes.weight": "int8"})
    problem = scratchpad_problem(workload(model, forward(1)))
    assert largest_footprint_bytes(problem) == 2352 * 1024


def test_caches_pass_by_and_keep_their_order() -> None:
    """A decode step streams what counts say; attention comes after the append."""
    built = workload(load_model("llama2-7b"), decode(1, 128))
    problem = scratchpad_problem(built)
    count = totals(built)
    moved = count.weight_read_bytes + count.kv_read_bytes + count.kv_write_bytes
    assert problem.streamed_bytes == moved
    assert not any("cache" in s.name for s in problem.storages)
    append = names(problem).index("kv_append")
    attention = next(n for n, t in enumerate(problem.tasks) if t.name == "layers[0]/attention")
    assert append in problem.predecessors[attention]


def test_one_block_reads_its_stream_and_hands_it_on() -> None:
    built = workload(load_model("llama2-7b"), prefill(1, 128))
    problem = scratchpad_problem(built, blocks=["layers"])
    hidden = 128 * 4096 * 2
    inputs = [s for s in problem.storages if s.in_dram]
    outputs = [s for s in problem.storages if s.kept]
    assert [s.size_bytes for s in inputs] == [hidden]
    assert [s.size_bytes for s in outputs] == [hidden]


def test_a_table_of_which_rows_are_read_is_streamed() -> None:
    """An embedding table never has to fit, even where weights are resident."""
    built = workload(load_model("bert-base"), forward(1, 16))
    problem = scratchpad_problem(built, weights="resident")
    table = next(t for t in problem.tasks if t.name == "embedding/embed_tokens")
    assert table.streamed_bytes == 16 * 768 * 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": "stream"}, "did you mean `streamed`"),
        ({"blocks": ["layer"]}, "unknown block `layer`"),
    ],
)
def test_unknown_names_are_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        scratchpad_problem(two_layers(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["mobilenetv2", "swin-tiny", "sd15-unet", "falcon-7b"])
def test_every_family_becomes_a_legal_problem(name: str) -> None:
    """A `Problem` checks itself; its streams are all found, so that nothing big is an input."""
    model = load_model(name)
    phase = prefill(1, 64) if name == "falcon-7b" else forward(1, 64)
    built = validate(workload(model, phase))
    problem = scratchpad_problem(built)
    inputs = {s.name for s in problem.storages if s.in_dram}
    assert inputs <= set(built.inputs)
    assert {s.name.rpartition("/")[2] for s in problem.storages if s.kept}
