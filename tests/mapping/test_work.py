"""What a unit is told of an operator: sizes, formats, compulsory bytes, heads."""

from __future__ import annotations

from accelsim.cost import Work
from accelsim.mapping.work import work_of
from accelsim.workload import Operator, decode, forward, load_model, prefill, workload
from accelsim.workload.counts import counts
from accelsim.workload.ops import expand


def works(model: str, phase: object, *, expanded: bool = False) -> dict[str, Work]:
    """Return the work of every operator of a model's layers."""
    block = workload(load_model(model), phase).blocks[1]  # type: ignore[arg-type]
    found: dict[str, Work] = {}
    for operator in block.operators:
        parts: tuple[Operator, ...] = (operator,)
        tensors = dict(block.tensors)
        expansion = expand(operator.kind)
        if expanded and expansion:
            parts, between = expansion(operator, tensors)
            tensors |= between
        for part in parts:
            found[part.name] = work_of(part, tensors, counts(part, tensors), operator)
    return found


def test_a_linear_layer_is_one_product() -> None:
    """Rows are tokens, columns outputs; weights are 2 bytes each, in bf16."""
    work = works("llama3-8b", decode(16, 1024))["qkv_proj"]
    assert (work.batch, work.m, work.n, work.k) == (1, 16, 6144, 4096)
    assert work.weight_bytes == 2 * 6144 * 4096
    assert work.dtype == "bf16"


def test_attention_carries_its_batch_heads_and_lengths() -> None:
    """A fused kernel needs them all; the cache holds K and V of every KV head."""
    work = works("llama3-8b", decode(16, 1023))["attention"]
    assert (work.batch, work.heads, work.kv_heads) == (16, 32, 8)
    assert (work.q_len, work.kv_len, work.head_dim) == (1, 1024, 128)
    assert work.kv_bytes == 2 * 16 * 8 * 1024 * 128 * 2


def test_expanded_products_know_the_heads_they_came_from() -> None:
    """Query heads that share a KV head become rows of one product per sequence and KV head."""
    score = works("llama3-8b", decode(16, 1023), expanded=True)["attention.score"]
    assert (score.batch, score.m, score.n, score.k) == (16 * 8, 4, 1024, 128)
    assert score.kv_heads == 8


def test_experts_share_the_rows_out() -> None:
    """Each active expert is a product of its own; MACs stay those of the routed rows."""
    work = works("mixtral-8x7b", prefill(1, 512))
    experts = next(w for name, w in work.items() if "expert" in name and w.macs)
    assert experts.batch == 8
    assert experts.m == 512 * 2 // 8
    assert experts.macs == 512 * 2 * experts.n * experts.k


def test_a_convolution_tells_its_grid_where_fast_algorithms_apply() -> None:
    """3 x 3 at stride 1 in one group, forward: not ResNet's first layer, nor one that strides."""
    block = workload(load_model("resnet50"), forward(batch=2)).blocks
    found = {}
    for one in block:
        for operator in one.operators:
            if operator.kind == "conv":
                work = work_of(operator, one.tensors, counts(operator, one.tensors), operator)
                found[operator.name] = operator.dims, work
    assert any(work.height for _, work in found.values())
    for dims, work in found.values():
        strided = dims["out_height"] < dims["in_height"] - 2
        plain = dims["kernel_height"] == 3 and not strided
        assert (work.height, work.width) == (
            (dims["out_height"], dims["out_width"]) if plain else (0, 0)
        )


def test_a_scan_tells_its_algorithm() -> None:
    """A GPU has other kernels for a selective scan than for a chunked one."""
    algorithms = {
        work.function
        for model in ("mamba-130m", "mamba2-130m")
        for work in works(model, prefill(1, 256)).values()
        if work.kind == "scan"
    }
    assert algorithms == {"selective", "ssd"}
