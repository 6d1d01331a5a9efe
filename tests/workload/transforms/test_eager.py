"""Execution operator by operator: the same work in as many kernels as a framework launches."""

from __future__ import annotations

import pytest

from accelsim.errors import GraphError
from accelsim.workload import (
    Extent,
    Workload,
    decode,
    forward,
    prefill,
    totals,
    validate,
    workload,
)
from accelsim.workload.transforms.eager import Eager
from accelsim.workload.transforms.training import Training

GPT2 = workload("gpt2", prefill(2, 64))
BERT = workload("bert-large", forward(2, 64))
UNET = workload("sd15-unet", forward(2, extent=Extent(512, 512)))


def _layer(built: Workload) -> list[str]:
    (layers,) = (block for block in built.blocks if block.name == "layers")
    return [str(o.attributes.get("function") or o.kind) for o in layers.operators]


def test_a_layer_of_gpt2_is_the_kernels_that_pytorch_traces() -> None:
    """Norm to residual sum of transformers' GPT-2 in inference, in order."""
    assert _layer(validate(Eager().apply(GPT2))) == [
        "layernorm", "matmul", "score", "scale", "where", "softmax", "context", "copy", "matmul",
        "add", "layernorm", "matmul", "scale", "pow", "scale", "add", "scale", "tanh", "add",
        "mul", "matmul", "add",
    ]  # fmt: skip


def test_a_layer_of_bert_projects_apart() -> None:
    """Three projections with a bias each; the mask is added, the GELU one kernel."""
    eager = validate(Eager(separate_projections=True).apply(BERT))
    assert _layer(eager)[:9] == [
        "matmul", "matmul", "matmul", "score", "scale", "add", "softmax", "context", "copy",
    ]  # fmt: skip
    assert eager.parameters == BERT.parameters
    assert totals(eager).flops == totals(BERT).flops


def test_scores_go_through_memory() -> None:
    """Between two products: scaled, masked and normalised scores are written and read."""
    fused, eager = (
        totals(GPT2),
        totals(Eager(compose_activations=False, copies="none").apply(GPT2)),
    )
    scores = 12 * 2 * 12 * 64 * 64 * 2  # layers, sequences, heads, pairs, bytes
    assert eager.activation_write_bytes - fused.activation_write_bytes == 4 * scores


def test_dropout_is_for_training() -> None:
    """After embedding and softmax, and before both sums: one more each, and one backward."""
    plain, dropped = Eager().apply(GPT2), validate(Eager(dropout=True).apply(GPT2))
    more = [w for w in _layer(dropped) if w == "dropout"]
    assert len(more) == 3
    assert len(list(dropped.operators())) - len(list(plain.operators())) == 4
    step = validate(Training().apply(dropped))
    back = next(b for b in step.blocks if b.name == "layers.backward")
    assert [o.attributes.get("function") for o in back.operators].count("dropout_backward") == 3


def test_gates_are_kernels_of_their_own() -> None:
    """SwiGLU is a SiLU and a product."""
    layer = _layer(validate(Eager().apply(workload("llama3-8b", prefill(1, 16)))))
    assert layer[-4:] == ["silu", "mul", "matmul", "add"]


def test_decoding_keeps_its_cache() -> None:
    """A pass over a cache needs it; asked for without, it is refused."""
    base = workload("gpt2", decode(2, 100))
    kept = validate(Eager(cache=True).apply(base))
    assert totals(kept).kv_read_bytes == totals(base).kv_read_bytes
    with pytest.raises(GraphError, match="earlier tokens in a cache"):
        Eager().apply(base)


def test_decoding_projects_apart_into_its_cache() -> None:
    """Key and value of the new token are appended; the query is what the scores read."""
    base = workload("gpt2", decode(2, 64))
    eager = validate(Eager(cache=True, separate_projections=True).apply(base))
    operators = {o.name: o for _, o in eager.operators()}
    assert operators["kv_append"].inputs == ("qkv_proj.key", "qkv_proj.value")
    assert operators["attention.score"].inputs[0] == "qkv_proj.query"
    assert totals(eager).flops == totals(base).flops


def _resnet(built: Workload) -> list[str]:
    (block,) = (block for block in built.blocks if block.name == "down.0.0")
    made = [o for o in block.operators if o.name.startswith("down.0.0.resnet.")]
    return [str(o.attributes.get("function") or o.kind) for o in made]


def test_an_image_changes_its_order_around_each_convolution() -> None:
    """Channels first: in and out of a convolution; last: in and out of a group norm."""
    common = {"attention": "fused", "image_kernels": True}
    first = validate(Eager.model_validate({**common, "layout": "first"}).apply(UNET))
    last = validate(Eager.model_validate({**common, "layout": "last"}).apply(UNET))
    norm, time = ["mean", "groupnorm", "silu"], ["matmul", "add"]
    conv = ["copy", "conv", "copy", "add"]
    assert _resnet(first) == [*norm, *conv, *time, *norm, *conv, "add"]
    norm, conv = ["copy", *norm], ["copy", "conv", "add"]
    assert _resnet(last) == [*norm, *conv, *time, *norm, *conv, "add"]
    for eager in (first, last):
        assert eager.parameters == UNET.parameters


def test_a_bias_is_added_once() -> None:
    """The kernel of its own does the additions that the convolution then does not."""
    apart = validate(Eager(attention="fused", image_kernels=True).apply(UNET))
    convs = [o for _, o in apart.operators() if o.kind == "conv"]
    assert all(len(o.inputs) == 2 for o in convs)
    biases = {n for _, o in UNET.operators() if o.kind == "conv" for n in o.inputs[2:]}
    read = [n for _, o in apart.operators() for n in o.inputs if n in biases]
    assert sorted(read) == sorted(biases)


def test_sums_are_divided_where_the_code_divides() -> None:
    """By the end of their names, and nothing else changes."""
    plain, scaled = (
        Eager(attention="fused", rescaled=ends).apply(UNET) for ends in ((), ("resnet.sum",))
    )
    sums = [o for _, o in UNET.operators() if o.name.endswith("resnet.sum")]
    assert len(list(validate(scaled).operators())) == len(list(plain.operators())) + len(sums)


def test_an_image_network_trains_kernel_by_kernel() -> None:
    """Copies, biases and statistics have backward rules or need none."""
    eager = Eager(attention="fused", image_kernels=True, layout="first").apply(UNET)
    step = validate(Training(loss="none").apply(eager))
    assert totals(step).flops > 2.5 * totals(eager).flops
