"""ONNX files become workloads with exact counts; what is not understood is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelsim.errors import ConfigError, GraphError
from accelsim.workload import Dtypes, Role, Workload, totals, validate
from accelsim.workload.graph import Operator
from accelsim.workload.importers.onnx import from_onnx, operators
from accelsim.workload.serial import from_json, to_json

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
FLOAT, INT64 = 1, 7
MICROSOFT = "com.microsoft"

Shape = Sequence[int | str]


class File:
    """An ONNX file in the making: nodes, weights whose values do not matter, integers that do."""

    def __init__(self, opset: int = 20, **inputs: Shape) -> None:
        self.opset, self.nodes, self.weights = opset, [], []
        self.inputs = [self.value(name, shape) for name, shape in inputs.items()]
        self.stated: list[Any] = []

    @staticmethod
    def value(name: str, shape: Shape | None) -> Any:
        kind = INT64 if name.endswith("ids") else FLOAT
        return helper.make_tensor_value_info(name, kind, shape)

    def weight(self, name: str, *shape: int, kind: int = FLOAT) -> str:
        raw = np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind))
        self.weights.append(numpy_helper.from_array(raw, name))
        return name

    def integers(self, name: str, *values: int) -> str:
        self.weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def scalar(self, name: str, value: float) -> str:
        self.weights.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def add(
        self, op: str, inputs: Sequence[str], outputs: str | Sequence[str], **more: Any
    ) -> str:
        made = [outputs] if isinstance(outputs, str) else list(outputs)
        name = more.pop("name", f"node_{len(self.nodes)}")
        self.nodes.append(helper.make_node(op, list(inputs), made, name=name, **more))
        return made[0]

    def save(self, path: Path, *outputs: str) -> Path:
        graph = helper.make_graph(
            self.nodes, "graph", self.inputs, [self.value(name, None) for name in outputs],
            self.weights, value_info=self.stated,
        )  # fmt: skip
        for made in graph.output:
            made.type.tensor_type.ClearField("shape")
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(MICROSOFT, 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets), str(path))
        return path


def imported(
    file: File, folder: Path, *outputs: str, dims: Mapping[str, int] | None = None, **more: Any
) -> Workload:
    found = from_onnx(file.save(folder / "net.onnx", *outputs), dims, **more)
    assert validate(found)
    assert from_json(to_json(found)) == found
    return found


def of_kind(found: Workload, kind: str) -> list[tuple[int, Operator]]:
    return [(block.count, o) for block, o in found.operators() if o.kind == kind]


def only(found: Workload, kind: str) -> Operator:
    ((count, operator),) = of_kind(found, kind)
    assert count == 1
    return operator


def kinds(found: Workload) -> dict[str, int]:
    counts: dict[str, int] = {}
    for block, operator in found.operators():
        counts[operator.kind] = counts.get(operator.kind, 0) + block.count
    return counts


# ---------------------------------------------------------------- whole networks


def resnet18(file: File) -> str:
    """Write ResNet-18 as exporters do, batch norms folded into the convolutions."""
    count = 0

    def conv(x: str, inside: int, outside: int, kernel: int, stride: int, pad: int) -> str:
        nonlocal count
        count += 1
        weights = file.weight(f"w{count}", outside, inside, kernel, kernel)
        bias = file.weight(f"b{count}", outside)
        return file.add(
            "Conv", [x, weights, bias], f"conv{count}", strides=[stride] * 2, pads=[pad] * 4,
            kernel_shape=[kernel] * 2,
        )  # fmt: skip

    def relu(x: str) -> str:
        return file.add("Relu", [x], f"{x}_relu")

    x = relu(conv("image", 3, 64, 7, 2, 3))
    x = file.add("MaxPool", [x], "pooled", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inside = 64
    for outside, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first, 1):
            y = conv(relu(conv(x, inside, outside, 3, stride, 1)), outside, outside, 3, 1, 1)
            if stride != 1:
                x = conv(x, inside, outside, 1, stride, 0)
            x, inside = relu(file.add("Add", [y, x], f"{y}_sum")), outside
    x = file.add("Flatten", [file.add("GlobalAveragePool", [x], "features")], "flat")
    weights = file.weight("fc", 1000, 512), file.weight("fc_bias", 1000)
    return file.add("Gemm", [x, *weights], "logits", transB=1)


def test_resnet18_has_the_published_macs(tmp_path: Path) -> None:
    """1,814,073,344 MACs, as in the file of zigzag's repository; each input image its own."""
    file = File(image=("batch", 3, 224, 224))
    logits = resnet18(file)
    found = imported(file, tmp_path, logits, dims={"batch": 1})
    assert totals(found).macs == 1_814_073_344
    # Folded batch norms leave a bias per channel: the model's parameters less one per channel.
    assert found.parameters == 11_689_512 - 4800
    assert kinds(found) == {"conv": 20, "elementwise": 25, "reduce": 2, "matmul": 1}
    again = from_onnx(tmp_path / "net.onnx", {"batch": 4})
    assert totals(again).macs == 4 * 1_814_073_344
    assert again.batch == 4


def attention(file: File, x: str, number: int, *, batch: int = 2, tokens: int = 16) -> str:
    """Write multi-head attention of 4 heads of 8 as exporters do, with a mask."""
    heads = []
    for part in "qkv":
        w = file.weight(f"w{part}{number}", 32, 32)
        b = file.weight(f"b{part}{number}", 32)
        y = file.add("MatMul", [x, w], f"{part}{number}_mm", name=f"/layer.{number}/{part}/MatMul")
        y = file.add("Add", [y, b], f"{part}{number}_b")
        shape = file.integers(f"{part}{number}_shape", batch, tokens, 4, 8)
        y = file.add("Reshape", [y, shape], f"{part}{number}_r")
        perm = [0, 2, 3, 1] if part == "k" else [0, 2, 1, 3]
        heads.append(file.add("Transpose", [y], f"{part}{number}_t", perm=perm))
    q, k, v = heads
    s = file.add("MatMul", [q, k], f"s{number}")
    s = file.add("Div", [s, file.scalar(f"scale{number}", 2.83)], f"s{number}_d")
    s = file.add("Add", [s, "mask"], f"s{number}_m")
    p = file.add("Softmax", [s], f"p{number}", axis=-1)
    y = file.add("MatMul", [p, v], f"c{number}")
    y = file.add("Transpose", [y], f"c{number}_t", perm=[0, 2, 1, 3])
    shape = file.integers(f"c{number}_shape", batch, tokens, 32)
    y = file.add("Reshape", [y, shape], f"c{number}_r")
    w = file.weight(f"wo{number}", 32, 32)
    return file.add("MatMul", [y, w], f"o{number}", name=f"/layer.{number}/o/MatMul")


def encoder(file: File, layers: int) -> str:
    x = "x"
    for n in range(layers):
        y = file.add("Add", [x, attention(file, x, n)], f"r{n}")
        weights = file.weight(f"g{n}", 32), file.weight(f"n{n}", 32)
        x = file.add("LayerNormalization", [y, *weights], f"x{n}", name=f"/layer.{n}/norm/LN")
    return x


def test_attention_written_out_is_one_operator(tmp_path: Path) -> None:
    """Product, scale, mask, softmax and product become attention; biases join their layers."""
    file = File(x=(2, 16, 32), mask=(2, 1, 1, 16))
    found = imported(file, tmp_path, encoder(file, 1))
    assert kinds(found) == {"matmul": 4, "attention": 1, "elementwise": 1, "norm": 1}
    dims = only(found, "attention").dims
    assert (dims["batch"], dims["heads"], dims["kv_heads"]) == (2, 4, 4)
    assert (dims["q_len"], dims["kv_len"], dims["head_dim"]) == (16, 16, 8)
    assert totals(found).macs == 4 * 32 * 32 * 32 + 2 * 2 * 4 * 16 * 16 * 8


def test_repeated_layers_are_one_block(tmp_path: Path) -> None:
    """Six layers of an encoder are a block with count 6, with six times the weights."""
    file = File(x=(2, 16, 32), mask=(2, 1, 1, 16))
    found = imported(file, tmp_path, encoder(file, 6))
    (block,) = found.blocks
    assert (block.name, block.count, len(block.operators)) == ("layers", 6, 7)
    assert found.parameters == 6 * (4 * 32 * 32 + 3 * 32 + 2 * 32)


# ---------------------------------------------------------------- patterns


def test_grouped_query_heads_survive_their_expansion(tmp_path: Path) -> None:
    """Keys copied to every query head by Expand are read at their real number."""
    file = File(q=(1, 8, 16, 4), k=(1, 2, 4, 16), v=(1, 2, 16, 4))
    wide = []
    for name, last in (("k", [4, 16]), ("v", [16, 4])):
        y = file.add("Unsqueeze", [name, file.integers(f"{name}_axis", 2)], f"{name}_u")
        y = file.add("Expand", [y, file.integers(f"{name}_e", 1, 2, 4, *last)], f"{name}_x")
        wide.append(file.add("Reshape", [y, file.integers(f"{name}_r", 1, 8, *last)], f"{name}_w"))
    p = file.add("Softmax", [file.add("MatMul", ["q", wide[0]], "s")], "p", axis=-1)
    found = imported(file, tmp_path, file.add("MatMul", [p, wide[1]], "y"))
    assert only(found, "attention").dims["kv_heads"] == 2
    assert kinds(found) == {"attention": 1}


def _decomposed_layer_norm(file: File) -> str:
    axes = {"axes": [-1]}
    mean = file.add("ReduceMean", ["x"], "mean", **axes)
    d = file.add("Sub", ["x", mean], "d")
    square = file.add("Pow", [d, file.scalar("two", 2.0)], "square")
    variance = file.add("ReduceMean", [square], "variance", **axes)
    root = file.add("Sqrt", [file.add("Add", [variance, file.scalar("eps", 1e-5)], "v")], "root")
    y = file.add("Mul", [file.add("Div", [d, root], "n"), file.weight("g", 32)], "scaled")
    return file.add("Add", [y, file.weight("b", 32)], "y")


def _decomposed_rms_norm(file: File) -> str:
    square = file.add("Pow", ["x", file.scalar("two", 2.0)], "square")
    mean = file.add("ReduceMean", [square], "mean", axes=[-1])
    root = file.add("Sqrt", [file.add("Add", [mean, file.scalar("eps", 1e-5)], "v")], "root")
    inverse = file.add("Reciprocal", [root], "inverse")
    return file.add("Mul", [file.weight("g", 32), file.add("Mul", ["x", inverse], "n")], "y")


def _decomposed_gelu(file: File) -> str:
    e = file.add("Erf", [file.add("Div", ["x", file.scalar("root", 1.414)], "s")], "e")
    y = file.add("Mul", ["x", file.add("Add", [e, file.scalar("one", 1.0)], "p")], "m")
    return file.add("Mul", [y, file.scalar("half", 0.5)], "y")


def _decomposed_gelu_tanh(file: File) -> str:
    cube = file.add("Pow", ["x", file.scalar("three", 3.0)], "cube")
    inner = file.add("Add", ["x", file.add("Mul", [cube, file.scalar("c", 0.0447)], "t")], "i")
    tanh = file.add("Tanh", [file.add("Mul", [inner, file.scalar("s", 0.798)], "u")], "tanh")
    half = file.add("Mul", ["x", file.scalar("half", 0.5)], "h")
    return file.add("Mul", [half, file.add("Add", [tanh, file.scalar("one", 1.0)], "p")], "y")


def _silu(file: File) -> str:
    return file.add("Mul", ["x", file.add("Sigmoid", ["x"], "s")], "y")


def _rope(file: File) -> str:
    first, second = (
        file.add(
            "Slice", ["x", file.integers(f"{n}s", low), file.integers(f"{n}e", low + 16),
                      file.integers(f"{n}a", 2)], n,
        )
        for n, low in (("first", 0), ("second", 16))
    )  # fmt: skip
    turned = file.add("Concat", [file.add("Neg", [second], "minus"), first], "turned", axis=-1)
    cos, sin = file.weight("cos", 4, 32), file.weight("sin", 4, 32)
    one, other = file.add("Mul", ["x", cos], "a"), file.add("Mul", [turned, sin], "b")
    return file.add("Add", [one, other], "y")


@pytest.mark.parametrize(
    ("pattern", "opset", "kind", "function", "parameters"),
    [
        (_decomposed_layer_norm, 13, "norm", "layernorm", 64),
        (_decomposed_rms_norm, 13, "norm", "rmsnorm", 32),
        (_decomposed_gelu, 13, "elementwise", "gelu", 0),
        (_decomposed_gelu_tanh, 13, "elementwise", "gelu_tanh", 0),
        (_silu, 13, "elementwise", "silu", 0),
        (_rope, 13, "elementwise", "rope", 0),
    ],
)
def test_what_exporters_write_out_is_found(
    pattern: Callable[[File], str], opset: int, kind: str, function: str, parameters: int,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Norms, activations and rotary embedding of many nodes are the operator that they are."""
    file = File(opset, x=(2, 4, 32))
    found = imported(file, tmp_path, pattern(file))
    assert only(found, kind).attributes["function"] == function
    assert kinds(found) == {kind: 1}
    assert found.parameters == parameters


# ---------------------------------------------------------------- formats and fused operators


def test_cached_keys_are_appended_not_copied(tmp_path: Path) -> None:
    """Past and new keys joined into an output are a cache to which new tokens are written."""
    file = File(q=(1, 4, 1, 8), new=(1, 4, 8, 1), past=(1, 4, 63, 8), v=(1, 4, 64, 8))
    k = file.add("Transpose", ["new"], "k_new", perm=[0, 1, 3, 2])
    keys = file.add("Concat", ["past", k], "present", axis=2)
    t = file.add("Transpose", [keys], "t", perm=[0, 1, 3, 2])
    p = file.add("Softmax", [file.add("MatMul", ["q", t], "s")], "p", axis=-1)
    found = imported(file, tmp_path, file.add("MatMul", [p, "v"], "y"), "present")
    assert only(found, "transfer").dims["size_bytes"] == 4 * 8 * 4
    assert found.kv_bytes_per_token == 4 * 8 * 4
    assert "past" not in found.inputs
    assert totals(found).kv_read_bytes == 64 * 4 * 8 * 4


def test_grouped_query_attention_of_onnx_runtime(tmp_path: Path) -> None:
    """Rotary embedding, append to both caches, and causal attention over few KV heads."""
    past = (1, 2, 31, 8)
    file = File(q=(1, 1, 64), k=(1, 1, 16), v=(1, 1, 16), past_k=past, past_v=past)
    file.integers("lengths", 31)
    y = file.add(
        "GroupQueryAttention", ["q", "k", "v", "past_k", "past_v", "lengths", "lengths"],
        ["y", "present_k", "present_v"], domain=MICROSOFT, do_rotary=1, num_heads=8,
        kv_num_heads=2,
    )  # fmt: skip
    found = imported(file, tmp_path, y, "present_k", "present_v")
    operator = only(found, "attention")
    assert (operator.dims["kv_heads"], operator.dims["kv_len"]) == (2, 32)
    assert operator.attributes["causal"]
    assert kinds(found) == {"elementwise": 2, "transfer": 2, "attention": 1}


def test_attention_of_opset_23(tmp_path: Path) -> None:
    """The standard's own attention keeps its mask and its head counts."""
    file = File(23, q=(2, 16, 64), k=(2, 16, 16), v=(2, 16, 16))
    y = file.add("Attention", ["q", "k", "v"], "y", is_causal=1, q_num_heads=8, kv_num_heads=2)
    operator = only(imported(file, tmp_path, y), "attention")
    assert (operator.dims["heads"], operator.dims["kv_heads"]) == (8, 2)
    assert operator.attributes["causal"]


def test_weights_of_four_bits_keep_their_groups(tmp_path: Path) -> None:
    """MatMulNBits is a linear layer over a grouped format, scales and zero points included."""
    file = File(x=(4, 256))
    packed = file.weight("w", 64, 8, 16, kind=2)
    scales, zeros = file.weight("scales", 64 * 8), file.weight("zeros", 64 * 4, kind=2)
    y = file.add(
        "MatMulNBits", ["x", packed, scales, zeros], "y", domain=MICROSOFT, K=256, N=64, bits=4,
        block_size=32,
    )  # fmt: skip
    found = imported(file, tmp_path, y)
    assert found.blocks[0].tensors["w"].dtype == "int4_g32z_fp32"
    assert only(found, "matmul").dims == {"batch": 1, "m": 4, "n": 64, "k": 256}


def test_skip_norms_add_and_normalise(tmp_path: Path) -> None:
    """The sum is handed on beside the norm."""
    file = File(x=(2, 4, 32), skip=(2, 4, 32))
    made = ["y", "", "", "total"]
    file.add(
        "SkipSimplifiedLayerNormalization", ["x", "skip", file.weight("g", 32)], made,
        domain=MICROSOFT,
    )  # fmt: skip
    found = imported(file, tmp_path, file.add("Add", ["y", "total"], "z"))
    assert kinds(found) == {"elementwise": 2, "norm": 1}


def test_quantised_convolution_reads_bytes(tmp_path: Path) -> None:
    """Operands of a QLinearConv are int8: a byte per element, the same MACs."""
    file = File(x=(1, 3, 8, 8))
    scale, zero = file.scalar("s", 0.1), file.weight("z", kind=2)
    x = file.add("QuantizeLinear", ["x", scale, zero], "xq")
    w = file.weight("w", 4, 3, 3, 3, kind=2)
    y = file.add("QLinearConv", [x, scale, zero, w, scale, zero, scale, zero], "yq", pads=[1] * 4)
    found = imported(file, tmp_path, file.add("DequantizeLinear", [y, scale, zero], "y"))
    assert totals(found).macs == 4 * 3 * 9 * 64
    assert totals(found).weight_read_bytes == 4 * 3 * 9
    assert kinds(found) == {"elementwise": 1, "conv": 1}


def test_dequantised_weights_stay_small(tmp_path: Path) -> None:
    """A weight that is stored as int8 and expanded in the file is read as int8."""
    file = File(x=(4, 16))
    w = file.add(
        "DequantizeLinear", [file.weight("w", 16, 8, kind=3), file.scalar("s", 0.1)], "wf"
    )
    found = imported(file, tmp_path, file.add("MatMul", ["x", w], "y"))
    assert totals(found).weight_read_bytes == 16 * 8


def test_formats_of_floats_can_be_chosen(tmp_path: Path) -> None:
    """A file in FP32 is what training left; the network runs in another format."""
    file = File(x=(4, 16))
    y = file.add("MatMul", ["x", file.weight("w", 16, 8)], "y")
    found = imported(file, tmp_path, y, dtypes=Dtypes(weight="fp8", activation="bf16"))
    assert (totals(found).weight_read_bytes, totals(found).activation_read_bytes) == (128, 128)


def test_a_tied_weight_is_stored_once(tmp_path: Path) -> None:
    """Embedding and output head share a table through a transpose."""
    file = File(ids=(1, 4))
    table = file.weight("table", 100, 16)
    x = file.add("Gather", [table, "ids"], "x", axis=0)
    t = file.add("Transpose", [table], "t", perm=[1, 0])
    found = imported(file, tmp_path, file.add("MatMul", [x, t], "y"))
    assert found.parameters == 1600
    assert kinds(found) == {"gather": 1, "matmul": 1}


def test_external_weights_may_be_missing(tmp_path: Path) -> None:
    """Only shapes are read, so that a file stripped of its weights is enough."""
    file = File(x=(4, 16))
    y = file.add("MatMul", ["x", file.weight("w", 16, 8)], "y")
    path = file.save(tmp_path / "net.onnx", y)
    proto = onnx.load(str(path))
    onnx.save(
        proto, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    (tmp_path / "weights.bin").unlink()
    assert totals(from_onnx(path)).macs == 4 * 16 * 8


# ---------------------------------------------------------------- single operators

_X = (2, 8, 4, 4)


def _one(op: str, *weights: tuple[int, ...], **attributes: Any) -> Callable[[File], str]:
    def write(file: File) -> str:
        names = [file.weight(f"w{i}", *shape) for i, shape in enumerate(weights)]
        return file.add(op, ["x", *names], "y", **attributes)

    return write


@pytest.mark.parametrize(
    ("op", "kind", "dims"),
    [
        (_one("Conv", (4, 8, 3, 3)), "conv", {"out_height": 2, "kernel_width": 3}),
        (_one("Conv", (8, 1, 3, 3), group=8, pads=[1] * 4), "conv", {"groups": 8}),
        (_one("ConvTranspose", (8, 4, 2, 2), strides=[2, 2]), "conv", {"out_height": 8}),
        (_one("MatMul", (4, 6)), "matmul", {"m": 64, "n": 6, "k": 4}),
        (_one("Softmax", axis=1), "softmax", {"rows": 32, "columns": 8}),
        (_one("GlobalAveragePool"), "reduce", {"terms": 16}),
        (_one("AveragePool", kernel_shape=[3, 3]), "reduce", {"terms": 9}),
        (_one("BatchNormalization", (8,), (8,), (8,), (8,)), "norm", {"rows": 32, "columns": 8}),
        (_one("InstanceNormalization", (8,), (8,)), "norm", {"columns": 8}),
        (_one("LpNormalization", axis=1), "norm", {"columns": 8}),
        (_one("LayerNormalization", (4, 4), axis=2), "norm", {"rows": 16, "columns": 16}),
        (_one("DepthToSpace", blocksize=2), "transfer", {"size_bytes": 1024}),
        (_one("Add", (8, 1, 1)), "elementwise", {"rows": 64, "operands": 2}),
        (_one("PRelu", (8, 1, 1)), "elementwise", {"operands": 2}),
        (_one("HardSwish"), "elementwise", {"operands": 1}),
        (_one("Gelu"), "elementwise", {"operands": 1}),
        (_one("Einsum", (8, 5), equation="bchw,cd->bdhw"), "matmul", {"m": 32, "n": 5, "k": 8}),
    ],
)
def test_a_single_operator_has_its_dims(
    op: Callable[[File], str], kind: str, dims: dict[str, int], tmp_path: Path
) -> None:
    """Each standard operator becomes the kind that it is, with the right sizes."""
    file = File(x=_X)
    operator = only(imported(file, tmp_path, op(file)), kind)
    assert {name: operator.dims[name] for name in dims} == dims


def test_a_class_token_is_joined_in_front(tmp_path: Path) -> None:
    """A weight that is joined to activations is copied, and counts as a parameter."""
    file = File(x=(1, 16, 8))
    y = file.add("Concat", [file.weight("token", 1, 1, 8), "x"], "y", axis=1)
    found = imported(file, tmp_path, y)
    assert found.parameters == 8
    assert [o.dims["size_bytes"] for _, o in of_kind(found, "transfer")] == [32, 17 * 8 * 4]


def test_sizes_that_the_file_computes_cost_nothing(tmp_path: Path) -> None:
    """Shape, Gather and Concat of sizes are bookkeeping: no operator, however dynamic the file."""
    file = File(x=("batch", 16, 8))
    size = file.add("Gather", [file.add("Shape", ["x"], "shape"), file.integers("zero", 0)], "n")
    shape = file.add("Concat", [size, file.integers("rest", 4, 4, 8)], "wanted", axis=0)
    y = file.add("Relu", [file.add("Reshape", ["x", shape], "r")], "y")
    found = imported(file, tmp_path, y, dims={"batch": 3})
    assert kinds(found) == {"elementwise": 1}
    assert only(found, "elementwise").dims["rows"] == 3 * 16


def test_a_mask_that_the_file_computes_is_left_out_aloud(tmp_path: Path) -> None:
    """What only a mask needs is no operator, and the workload says so."""
    file = File(x=(2, 16, 32), mask=(2, 1, 1, 16))
    file.add("Mul", ["raw", file.scalar("big", -1e4)], "mask2")
    file.nodes.insert(0, file.nodes.pop())
    file.inputs[1] = File.value("raw", (2, 1, 1, 16))
    y = attention(file, "x", 0)
    for node in file.nodes:
        node.input[:] = ["mask2" if name == "mask" else name for name in node.input]
    found = imported(file, tmp_path, y)
    assert kinds(found) == {"matmul": 4, "attention": 1}
    assert "masks" in found.conventions["attention"]


def test_unknown_operators_are_mapped(tmp_path: Path) -> None:
    """A private operator is what the user says it is, by its name with or without domain."""
    for like, function in (("elementwise:silu", "silu"), ("Relu", "relu"), ("Gelu", "gelu")):
        for name in ("ours.Act", "Act"):
            file = File(x=(4, 8))
            y = file.add("Act", ["x"], "y", domain="ours")
            found = imported(file, tmp_path, y, map={name: like})
            assert only(found, "elementwise").attributes["function"] == function
    file = File(x=(4, 8))
    y = file.add("Relu", [file.add("Barrier", ["x"], "b", domain="ours")], "y")
    assert kinds(imported(file, tmp_path, y, map={"Barrier": "view"})) == {"elementwise": 1}


# ---------------------------------------------------------------- refusals


def _unknown(file: File) -> str:
    return file.add("Silu", ["x"], "y", domain="private", name="/mlp/act")


def _loop(file: File) -> str:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"])], "body",
        [helper.make_tensor_value_info(n, t, []) for n, t in (("i", INT64), ("c", 9))],
        [helper.make_tensor_value_info("d", 9, [])],
    )  # fmt: skip
    more = {"body": body, "name": "/generate/Loop"}
    return file.add("Loop", [file.integers("n", 3), ""], "y", **more)


def _data_dependent(file: File) -> str:
    return file.add("NonZero", ["x"], "y", name="/select/NonZero")


def _misfit(file: File) -> str:
    return file.add("MatMul", ["x", file.weight("w", 5, 6)], "y", name="/bad/MatMul")


def _dynamic_kernel(file: File) -> str:
    k = file.add("Reshape", ["x", file.integers("s", 2, 8, 2, 4)], "k")
    return file.add("Conv", ["x", k], "y", name="/dynamic/Conv")


def _undefined(file: File) -> str:
    return file.add("Relu", ["nowhere"], "y", name="/lost/Relu")


def _second_output(file: File) -> str:
    file.add("MaxPool", ["x"], ["p", "indices"], kernel_shape=[2, 2], name="/pool/MaxPool")
    return file.add("Cast", ["indices"], "y", to=FLOAT)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (_unknown, r"`/mlp/act` \(private\.Silu\): unknown operator.*--map private\.Silu="),
        (_loop, r"`/generate/Loop` \(Loop\): control flow"),
        (_data_dependent, r"`/select/NonZero` \(NonZero\): the shape of `y` .* depends on data"),
        (_misfit, r"`/bad/MatMul` \(MatMul\): .*[Ii]ncompatible dimensions"),
        (_dynamic_kernel, r"`/dynamic/Conv` \(Conv\): its kernel is computed"),
        (_undefined, r"`/lost/Relu` \(Relu\): reads `nowhere`"),
        (_second_output, r"`/pool/MaxPool` \(MaxPool\): its output `indices` .* not supported"),
    ],
)
def test_a_node_that_cannot_be_imported_is_named(
    wrong: Callable[[File], str], said: str, tmp_path: Path
) -> None:
    """No operator is counted as zero in silence: the error names the node and its operator."""
    file = File(x=(1, 8, 4, 4))
    with pytest.raises(GraphError, match=said):
        imported(file, tmp_path, wrong(file))


def test_dynamic_dimensions_ask_for_their_size(tmp_path: Path) -> None:
    """The error names input, dimension and symbol, and shows what to write."""
    file = File(x=("batch", 3, "side", 8))
    path = file.save(tmp_path / "net.onnx", file.add("Relu", ["x"], "y"))
    with pytest.raises(ConfigError) as caught:
        from_onnx(path)
    assert "input `x`, dimension 0 is dynamic (`batch`), and so are `side`" in str(caught.value)
    assert "--dim batch=1 --dim side=1" in caught.value.hint
    with pytest.raises(ConfigError, match=r"no input has a dimension `bach`(.|\n)*batch"):
        from_onnx(path, {"bach": 1, "side": 4})
    assert only(from_onnx(path, {"batch": 2, "side": 4}), "elementwise").dims["rows"] == 24


def test_a_dimension_without_a_name_goes_by_its_place(tmp_path: Path) -> None:
    """``--dim x.0=4`` binds what the file left unnamed."""
    file = File(x=("", 8))
    file.inputs[0].type.tensor_type.shape.dim[0].Clear()
    path = file.save(tmp_path / "net.onnx", file.add("Relu", ["x"], "y"))
    with pytest.raises(ConfigError, match=r"`x\.0`"):
        from_onnx(path)
    assert only(from_onnx(path, {"x.0": 4}), "elementwise").dims["rows"] == 4


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    """Missing, damaged and empty files are errors that name the file."""
    with pytest.raises(ConfigError, match=r"none\.onnx: cannot be read"):
        from_onnx(tmp_path / "none.onnx")
    broken = tmp_path / "broken.onnx"
    for content in (b"no protobuf at all", b"\x08\x07", b""):
        broken.write_bytes(content)
        with pytest.raises(ConfigError, match=r"broken\.onnx: "):
            from_onnx(broken)
    file = File(x=(4, 8))
    whole = file.save(tmp_path / "whole.onnx", file.add("Relu", ["x"], "y")).read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((ConfigError, GraphError), match=r"broken\.onnx: "):
        from_onnx(broken)


def test_a_file_without_opset_is_refused(tmp_path: Path) -> None:
    """Its operators are not defined."""
    file = File(x=(4, 8))
    path = file.save(tmp_path / "net.onnx", file.add("Relu", ["x"], "y"))
    proto = onnx.load(str(path))
    del proto.opset_import[:]
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ConfigError, match="opset"):
        from_onnx(path)


def test_a_mapping_to_something_unknown_is_refused(tmp_path: Path) -> None:
    """The hint names the nearest legal spelling."""
    with pytest.raises(ConfigError, match=r"`Act` is like `elementwise:silo`(.|\n)*`silu`"):
        from_onnx(tmp_path / "any.onnx", map={"Act": "elementwise:silo"})


def test_supported_operators_are_listed() -> None:
    """The list has what convolutional networks and transformers consist of."""
    assert {"Conv", "Gemm", "Attention", "LayerNormalization"} <= set(operators())
    assert not any(name.startswith("!") for name in operators())


def test_every_weight_of_the_network_is_read(tmp_path: Path) -> None:
    """Weights are tensors of that role and nothing else is."""
    file = File(x=(2, 16, 32), mask=(2, 1, 1, 16))
    found = imported(file, tmp_path, encoder(file, 2))
    held = sum(t.role is Role.WEIGHT for b in found.blocks for t in b.tensors.values())
    assert held == 4 + 3 + 2


def test_shifted_windows_are_attention_too(tmp_path: Path) -> None:
    """Scores that are masked window by window, in another shape, are still one attention."""
    file = File(q=(8, 3, 49, 32), k=(8, 3, 32, 49), v=(8, 3, 49, 32))
    s = file.add("MatMul", ["q", "k"], "s")
    s = file.add("Add", [s, file.weight("bias", 1, 3, 49, 49)], "sb")
    s = file.add("Reshape", [s, file.integers("w1", 2, 4, 3, 49, 49)], "windows")
    s = file.add("Add", [s, file.weight("mask", 1, 4, 1, 49, 49)], "masked")
    s = file.add("Reshape", [s, file.integers("w2", 8, 3, 49, 49)], "flat")
    found = imported(file, tmp_path, file.add("MatMul", [file.add("Softmax", [s], "p"), "v"], "y"))
    operator = only(found, "attention")
    assert kinds(found) == {"attention": 1}
    assert operator.attributes["bias"]
    assert (operator.dims["batch"], operator.dims["heads"]) == (8, 3)
