"""The Python builder: shapes follow, weights are named, errors say what does not fit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from accelsim.errors import GraphError
from accelsim.workload import Dtypes, Role, decode, totals
from accelsim.workload.author import Graph, Value
from accelsim.workload.graph import Operator, Workload

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def built(g: Graph, *outputs: Value) -> Workload:
    g.output(*outputs)
    return g.build()


def only(found: Workload, kind: str) -> Operator:
    (operator,) = (operator for _, operator in found.operators() if operator.kind == kind)
    return operator


def resnet18(batch: int) -> Workload:
    g = Graph("resnet18")
    x = g.input("image", (batch, 3, 224, 224))
    x = g.relu(g.batch_norm(g.conv(x, 64, 7, stride=2, bias=False)))
    x = g.pool(x, 3, stride=2, padding=1)
    for channels, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first, 1):
            y = g.relu(g.batch_norm(g.conv(x, channels, 3, stride=stride, bias=False)))
            y = g.batch_norm(g.conv(y, channels, 3, bias=False))
            if stride != 1:
                x = g.batch_norm(g.conv(x, channels, 1, stride=stride, bias=False))
            x = g.relu(g.add(x, y))
    return built(g, g.linear(g.reduce(x, "mean", (2, 3)), 1000, bias=True))


def test_resnet18_has_its_published_counts() -> None:
    """1,814,073,344 MACs and 11,689,512 parameters, as in torchvision."""
    found = resnet18(1)
    assert totals(found).macs == 1_814_073_344
    assert found.parameters == 11_689_512
    assert totals(resnet18(4)).macs == 4 * totals(found).macs


def test_repeat_equals_a_loop_written_out() -> None:
    """One call of the body with a count is what calling it in a loop folds to."""

    def layer(g: Graph, x: Value) -> Value:
        qkv = g.linear(g.layer_norm(x), 96, bias=True)
        y = g.attention(*g.split(qkv, 3), heads=4)
        return g.add(x, g.linear(y, 32))

    one, other = Graph("net"), Graph("net")
    repeated = one.repeat(6, lambda x: layer(one, x), one.input("x", (1, 16, 32)))
    x = other.input("x", (1, 16, 32))
    for _ in range(6):
        x = layer(other, x)
    first, second = built(one, repeated), built(other, x)
    assert totals(first) == totals(second)
    assert [b.count for b in first.blocks] == [b.count for b in second.blocks] == [6]


def test_repeat_takes_several_streams_and_reads_from_outside() -> None:
    """Both streams flow on; what is made before is the same for every repetition."""
    g = Graph("net")
    context = g.relu(g.input("context", (1, 8, 16)))

    def body(x: Value, y: Value) -> tuple[Value, Value]:
        kv = g.linear(context, 32)
        x = g.attention(g.linear(x, 16), *g.split(kv, 2), heads=2)
        return x, g.add(y, g.reshape(x, y.shape))

    x, y = g.repeat(4, body, g.input("x", (1, 8, 16)), g.input("y", (1, 8, 16)), name="deep")
    found = built(g, g.add(x, y))
    deep = next(block for block in found.blocks if block.name == "deep")
    assert deep.count == 4
    assert set(deep.carry) == {"x", "y"}
    assert found.parameters == 4 * (16 * 32 + 16 * 16)


def test_names_of_weights_follow_their_operators() -> None:
    """A second operator of a name is numbered, and its weights with it; scopes go before."""
    g = Graph("net")
    x = g.input("x", (4, 8))
    with g.scope("encoder"):
        x = g.linear(g.linear(x, 8, name="up"), 8, name="up", bias=True)
    found = built(g, x)
    weights = {n for n, t in found.blocks[0].tensors.items() if t.role is Role.WEIGHT}
    assert weights == {"encoder.up.weight", "encoder.up_1.weight", "encoder.up_1.bias"}


def test_number_formats_come_from_the_graph_and_the_value() -> None:
    """Weights in the weights' format, results in that of what went in."""
    g = Graph("net", dtypes=Dtypes(weight="int4_g128", activation="fp8"))
    y = g.linear(g.input("x", (4, 128)), 8)
    block = built(g, y).blocks[0]
    assert (block.tensors["linear.weight"].dtype, block.tensors["linear"].dtype) == (
        "int4_g128", "fp8",
    )  # fmt: skip


def test_slices_are_read_in_place_where_readers_can() -> None:
    """Attention over a fused projection copies nothing; a linear layer over a slice does."""
    g = Graph("net")
    qkv = g.linear(g.input("x", (1, 16, 32)), 96)
    q, k, v = g.split(qkv, 3)
    found = built(g, g.linear(g.attention(q, k, v, heads=4), 8), g.linear(v, 8))
    assert only(found, "attention").inputs == ("linear", "linear", "linear")
    assert only(found, "transfer").dims["size_bytes"] == 16 * 32 * 2


def test_broadcast_keys_are_read_once() -> None:
    """Heads that are expanded for a framework's attention are few heads."""
    g = Graph("net")
    q, k = g.input("q", (1, 8, 16, 4)), g.input("k", (1, 2, 16, 4))
    wide = g.reshape(g.expand(g.reshape(k, (1, 2, 1, 16, 4)), (1, 2, 4, 16, 4)), (1, 8, 16, 4))
    found = built(g, g.attention(q, wide, wide))
    assert only(found, "attention").dims["kv_heads"] == 2


def test_a_cache_grows_by_its_tokens() -> None:
    """KV bytes per token are those of one token of all layers."""
    g = Graph("net", decode(2, 63))

    def layer(x: Value) -> Value:
        q, k, v = g.split(g.linear(x, 96), 3)
        keys = g.append(g.kv_cache("k", (2, 4, 64, 8)), k)
        values = g.append(g.kv_cache("v", (2, 4, 64, 8)), v)
        heads = g.transpose(g.reshape(q, (2, 1, 4, 8)), 0, 2, 1, 3)
        y = g.attention(heads, keys, values, causal=True)
        return g.add(x, g.linear(g.reshape(g.transpose(y, 0, 2, 1, 3), (2, 1, 32)), 32))

    found = built(g, g.repeat(3, layer, g.input("x", (2, 1, 32))))
    assert found.kv_bytes_per_token == 3 * 2 * 32 * 2
    assert found.phase == "decode 2x1 past 63"
    assert totals(found).kv_write_bytes == 3 * 2 * 2 * 32 * 2


def test_experts_count_their_active_parameters() -> None:
    """A token uses the router and its own experts."""
    g = Graph("moe")
    x = g.input("x", (16, 32))
    weights, indices = g.route(g.linear(x, 8, name="router"), 2)
    rows = g.gather(x, g.reshape(indices, (32,)))
    y = g.experts(rows, 64, experts=8, active=8, top_k=2)
    found = built(g, y, weights)
    assert found.parameters == 32 * 8 + 8 * 32 * 64
    assert found.active_parameters == 32 * 8 + 2 * 32 * 64


def test_a_product_with_a_shared_matrix_is_one_product_of_all_rows() -> None:
    """Batches of rows over one weight are a linear layer; over a batch, batched products."""
    g = Graph("net")
    a, b = g.input("a", (3, 4, 8)), g.input("b", (3, 8, 2))
    one = g.matmul(a, g.weight("w", (8, 2)))
    two = g.matmul(a, b)
    three = g.matmul(g.weight("left", (5, 8)), b)
    found = built(g, one, two, three)
    dims = [dict(o.dims) for _, o in found.operators() if o.kind == "matmul"]
    assert (
        dims
        == [
            {"batch": 1, "m": 12, "n": 2, "k": 8},
            {"batch": 3, "m": 4, "n": 2, "k": 8},
            {"batch": 3, "m": 2, "n": 5, "k": 8},
        ]
        or dims[2]["batch"] * dims[2]["m"] * dims[2]["n"] == 3 * 5 * 2
    )


def test_transposed_convolution_grows() -> None:
    """MACs of a transposed convolution are those of its input positions."""
    g = Graph("net")
    x = g.input("x", (1, 8, 14, 14))
    y = g.conv(x, 4, 4, stride=2, padding=1, transposed=True, bias=False)
    assert y.shape == (1, 4, 28, 28)
    assert totals(built(g, y)).macs == 8 * 4 * 16 * 14 * 14


def test_resizing_reads_the_small_map_and_writes_the_large() -> None:
    """Nearest neighbours are copied, linear ones interpolated, whatever the ratio."""
    g = Graph("net")
    x = g.input("x", (1, 8, 10, 10))
    near, smooth = g.resize(x, (20, 20)), g.resize(x, (23, 23), linear=True)
    found = built(g, near, smooth)
    assert only(found, "transfer").dims["size_bytes"] == 8 * 400 * 2
    assert only(found, "elementwise").dims["rows"] == 8 * 23


_WRONG: list[tuple[str, Callable[[Graph, Value], object]]] = [
    (r"add `add`: .*\[4, 8\] and .*\[4, 9\] do not broadcast",
     lambda g, x: g.add(x, g.input("y", (4, 9)))),
    (r"matmul `matmul`: .*\[4, 8\] and .*\[4, 8\] are not", lambda g, x: g.matmul(x, x)),
    (r"linear `up`: weight .* is not of 5 x 8", lambda g, x: g.linear(
        x, 5, weight=g.weight("w", (4, 8)), name="up")),
    (r"attention `attention`: .*heads=", lambda g, x: g.attention(x, x, x)),
    (r"attention `attention`: .* do not divide", lambda g, x: g.attention(
        *(g.reshape(x, (1, 4, 8)),) * 3, heads=3)),
    (r"conv `conv`: .*spatial", lambda g, x: g.conv(x, 4, 3)),
    (r"conv `conv`: .*groups", lambda g, x: g.conv(g.reshape(x, (1, 4, 8)), 6, 3, groups=4)),
    (r"conv `conv`: .*leaves nothing", lambda g, x: g.conv(
        g.reshape(x, (1, 4, 8)), 6, 9, padding=0)),
    (r"cannot be read in the shape \[3, 5\]", lambda g, x: g.reshape(x, (3, 5))),
    (r"is no order", lambda g, x: g.transpose(x, 0, 0)),
    (r"is not split into", lambda g, x: g.split(x, [3, 4])),
    (r"is not broadcast to", lambda g, x: g.expand(x, (3, 8))),
    (r"unknown function `gelo`", lambda g, x: g.elementwise("gelo", x)),
    (r"gated `activation`", lambda g, x: g.gated(g.part(x, 7), "silu")),
    (r"concat `concat`: .* differ", lambda g, x: g.concat([x, g.input("y", (3, 8))])),
    (r"append `kv_append`: .* larger", lambda g, x: g.append(g.kv_cache("k", (1, 1, 1, 8)), x)),
    (r"kv_cache `k`: shape .* 4 dimensions", lambda g, x: g.kv_cache("k", (4, 8))),
    (r"repeat `layers`: the body takes .*\[4, 8\] and returns .*\[4, 9\]",
     lambda g, x: g.repeat(2, lambda x: g.linear(x, 9), x)),
    (r"repeat `layers`: the body returns .* does not make",
     lambda g, x: g.repeat(2, lambda x: x, x)),
    (r"two streams begin with one tensor", lambda g, x: g.repeat(
        2, lambda x, y: (g.relu(x), g.relu(y)), x, x)),
    (r"cannot hold another", lambda g, x: g.repeat(
        2, lambda x: g.repeat(2, g.relu, g.relu(x)), x)),
]  # fmt: skip


@pytest.mark.parametrize(("said", "wrong"), _WRONG)
def test_what_does_not_fit_is_named(said: str, wrong: Callable[[Graph, Value], object]) -> None:
    """The error names graph, operator, and the shapes that it was given."""
    g = Graph("net")
    x = g.input("x", (4, 8))
    with pytest.raises(GraphError, match=said):
        wrong(g, x)


def test_a_result_that_nothing_reads_is_an_error() -> None:
    """A forgotten output is no operator without cost."""
    g = Graph("net")
    x = g.input("x", (4, 8))
    g.linear(x, 8)
    g.output(g.relu(x))
    with pytest.raises(GraphError, match=r"`linear` dangles"):
        g.build()
    with pytest.raises(GraphError, match="has no operator"):
        Graph("empty").build()


@pytest.mark.checkout
def test_the_example_runs(tmp_path: Path) -> None:
    """The example prints the network's counts, and one line of latency per device."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "own_model.py")], cwd=tmp_path, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == (EXAMPLES / "own_model.out").read_text()
