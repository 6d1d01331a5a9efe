"""What makes a graph illegal, one fault at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from accelsim.errors import GraphError, UnknownNameError
from accelsim.workload import Block, Operator, Role, Tensor, Workload, decode, validate
from accelsim.workload.families.decoder import DecoderConfig, build
from tests.workload.configs import SMALL


def legal() -> Workload:
    return build(DecoderConfig(**SMALL), decode(2, 7))


def with_layers(change: Any) -> Workload:
    graph = legal()
    embedding, layers, head = graph.blocks
    return replace(graph, blocks=(embedding, change(layers), head))


def with_operator(name: str, **changes: Any) -> Workload:
    return with_layers(
        lambda block: replace(
            block,
            operators=tuple(
                replace(op, **changes) if op.name == name else op for op in block.operators
            ),
        )
    )


def elementwise(name: str, inputs: tuple[str, ...], output: str) -> Operator:
    dims = {"rows": 2, "columns": 32, "operands": len(inputs)}
    attributes = {"function": "add" if len(inputs) > 1 else "relu"}
    return Operator(name, "elementwise", dims, inputs, (output,), attributes=attributes)


def block_of(*operators: Operator, **fields: Any) -> Workload:
    """Return a workload of one block from `x` to `y` with these operators."""
    names = {name for op in operators for name in (*op.inputs, *op.outputs)}
    tensors = {name: Tensor(name, (2, 32), "bf16", Role.ACTIVATION) for name in names}
    block = Block("body", **{"count": 1, "operators": operators, "tensors": tensors, **fields})
    return Workload("w", (block,), 0, 0, 0, "", 1, 1, inputs=("x",), outputs=("y",))


def test_the_base_of_these_tests_is_legal() -> None:
    """The graph that the tests below damage is legal before."""
    graph = legal()
    assert validate(graph) is graph
    validate(block_of(elementwise("a", ("x",), "y")))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"dims": {"batch": 1, "m": 2, "n": 128}}, "dims k are missing"),
        ({"dims": {"batch": 1, "m": 2, "n": 128, "k": 32, "z": 1}}, "unknown dim `z`"),
        ({"dims": {"batch": 1, "m": 2, "n": 128, "k": 0}}, "dim k is 0"),
        ({"dims": {"batch": 1, "m": 2, "n": 127, "k": 32}}, "holds .* elements, .* are needed"),
        ({"shard": "heads"}, "shard `heads` is not among its dims"),
        ({"inputs": ("input_norm", "qkv.weight")}, "tensor `qkv.weight` does not exist"),
        ({"outputs": ()}, "has no output"),
    ],
)
def test_an_operator_that_does_not_fit_is_refused(changes: dict[str, Any], text: str) -> None:
    """The error names workload, block and operator, and what does not fit."""
    with pytest.raises(
        GraphError, match=r"(?s)decoder, block `layers`: matmul `qkv_proj`.*" + text
    ):
        validate(with_operator("qkv_proj", **changes))


def test_an_unknown_kind_is_refused_with_the_nearest() -> None:
    """A misspelt kind is answered with the nearest file name."""
    with pytest.raises(UnknownNameError, match="did you mean `matmul`"):
        validate(with_operator("qkv_proj", kind="matmull"))


def test_a_cycle_is_named() -> None:
    """Operators that wait for each other are listed in order."""
    graph = block_of(
        elementwise("a", ("x", "c_out"), "a_out"),
        elementwise("b", ("a_out",), "b_out"),
        elementwise("c", ("b_out",), "c_out"),
        elementwise("d", ("c_out",), "y"),
    )
    with pytest.raises(GraphError, match=r"cycle: (a -> b -> c -> a|b -> c -> a -> b)"):
        validate(graph)


def test_wrong_order_is_not_called_a_cycle() -> None:
    """Operators listed before what they read are told to be listed in order."""
    graph = block_of(elementwise("b", ("a_out",), "y"), elementwise("a", ("x",), "a_out"))
    with pytest.raises(GraphError, match="reads `a_out` before `a` makes it"):
        validate(graph)


@pytest.mark.parametrize(
    ("graph", "text"),
    [
        (block_of(elementwise("a", ("z",), "y")), "reads `z`, which nothing makes"),
        (
            block_of(elementwise("a", ("x",), "y"), elementwise("b", ("x",), "y")),
            "`y` is made by `a` and `b`",
        ),
        (
            block_of(elementwise("a", ("x",), "y"), elementwise("a", ("x",), "z")),
            "two operators are named `a`",
        ),
        (
            block_of(elementwise("a", ("x",), "y"), elementwise("b", ("x",), "z")),
            "`z` dangles: `b` makes it and nothing reads it",
        ),
        (block_of(elementwise("a", ("x",), "q"), carry={"x": "q"}), "outputs .* made by no block"),
        (block_of(elementwise("a", ("x",), "y"), carry={"x": "z"}), "no operator makes `z`"),
        (
            block_of(elementwise("a", ("x",), "y"), carry={"s": "y"}, count=2),
            "no tensor of that name",
        ),
    ],
)
def test_a_graph_that_does_not_connect_is_refused(graph: Workload, text: str) -> None:
    """Inputs from nowhere, two makers, dangling results and impossible carries are refused."""
    with pytest.raises(GraphError, match=text):
        validate(graph)


def test_an_unused_tensor_is_refused() -> None:
    """A weight that no operator reads is a mistake, not a parameter."""
    spare = Tensor("spare", (3,), "bf16", Role.WEIGHT)

    def add(block: Block) -> Block:
        return replace(block, tensors={**block.tensors, "spare": spare})

    with pytest.raises(GraphError, match="tensor `spare` dangles"):
        validate(with_layers(add))


def test_a_weight_cannot_be_written() -> None:
    """Weights are read only."""
    graph = block_of(elementwise("a", ("x",), "y"))
    weight = Tensor("y", (2, 32), "bf16", Role.WEIGHT)
    block = replace(graph.blocks[0], tensors={**graph.blocks[0].tensors, "y": weight})
    with pytest.raises(GraphError, match="writes the weight `y`"):
        validate(replace(graph, blocks=(block,)))


def test_a_carried_stream_keeps_its_shape() -> None:
    """What feeds the next repetition has as many elements as the body reads."""
    graph = block_of(elementwise("a", ("x",), "y"), count=2, carry={"x": "y"})
    validate(graph)
    narrow = Tensor("x", (65,), "bf16", Role.ACTIVATION)
    block = replace(graph.blocks[0], tensors={**graph.blocks[0].tensors, "x": narrow})
    with pytest.raises(GraphError, match="carry `x`"):
        validate(replace(graph, blocks=(block,)))


def test_a_stream_keeps_its_shape_between_blocks() -> None:
    """A block reads a stream as the block before left it."""
    graph = legal()
    other = build(DecoderConfig(**SMALL), decode(3, 7))
    mixed_up = replace(graph, blocks=(graph.blocks[0], *other.blocks[1:]))
    with pytest.raises(GraphError, match=r"`hidden` is .* in the block it comes from"):
        validate(mixed_up)


def test_claimed_parameters_are_held() -> None:
    """A parameter count that the weights do not add up to is refused."""
    graph = legal()
    with pytest.raises(GraphError, match="claims 1 parameters"):
        validate(replace(graph, parameters=1))


def test_two_blocks_of_one_name_are_refused() -> None:
    """Block names are unique."""
    graph = legal()
    with pytest.raises(GraphError, match="two blocks are named `embedding`"):
        validate(replace(graph, blocks=(graph.blocks[0], *graph.blocks)))
