"""Training passes against closed forms: FLOPs, gradients, states, memory."""

from __future__ import annotations

import pytest

from accelsim import arch, mapping
from accelsim.errors import GraphError
from accelsim.mapping.capacity import memory_need
from accelsim.mapping.plan import plan
from accelsim.workload import (
    Conventions,
    Extent,
    Role,
    Workload,
    decode,
    flop_split,
    forward,
    prefill,
    resident_bytes,
    totals,
    validate,
    weight_elements,
    workload,
)
from accelsim.workload.counts import counts
from accelsim.workload.graph import saved
from accelsim.workload.serial import from_json, to_json
from accelsim.workload.transforms.eager import Eager
from accelsim.workload.transforms.training import Training, update_pass

GPT2 = workload("gpt2", prefill(1, 1024))
PASSES = {
    "gpt2": GPT2,
    "llama3-8b": workload("llama3-8b", prefill(1, 512)),
    "mixtral-8x7b": workload("mixtral-8x7b", prefill(1, 512)),
    "deepseek-v2-lite": workload("deepseek-v2-lite", prefill(1, 64)),
    "bert-large": workload("bert-large", forward(2, 64)),
    "vit-b16": workload("vit-b16", forward(2)),
    "resnet50": workload("resnet50", forward(2)),
    "sd15-unet": workload("sd15-unet", forward(2, extent=Extent(512, 512))),
}


@pytest.fixture(params=PASSES)
def base(request: pytest.FixtureRequest) -> Workload:
    return PASSES[request.param]


def test_a_step_is_legal_and_keeps_its_parameters(base: Workload) -> None:
    """Weights are recalled, not copied: as many parameters as before, whatever is added."""
    for options in (
        Training(),
        Training(recompute="full", optimizer="adam"),
        Training(loss="none", optimizer="momentum", master_weights=True),
    ):
        step = validate(options.apply(base))
        assert weight_elements(step) == weight_elements(base)
        assert step.parameters == base.parameters
        assert step.phase.startswith("train ")


def test_every_weight_has_a_gradient_of_its_size(base: Workload) -> None:
    """The states of a step without an optimizer are the gradients: one element per parameter."""
    step = Training(gradient="fp32").apply(base)
    assert resident_bytes(step)[Role.STATE] == 4 * weight_elements(base)


@pytest.mark.parametrize("name", ["gpt2", "llama3-8b", "mixtral-8x7b", "deepseek-v2-lite"])
def test_products_with_weights_cost_three_times_the_forward_pass(name: str) -> None:
    """Gradients of input and weight are each a product of the forward one's size, exactly."""
    before, after = flop_split(PASSES[name]), flop_split(Training().apply(PASSES[name]))
    for label in before.keys() - {"attention"}:
        assert after[label] == 3 * before[label], label


def test_attention_costs_three_and_a_half_times_its_forward_pass() -> None:
    """Five products backward where the forward pass has two, of equal widths."""
    before, after = flop_split(GPT2), flop_split(Training().apply(GPT2))
    assert after["attention"] * 2 == before["attention"] * 7
    masked = [totals(w).masked_macs for w in (GPT2, Training().apply(GPT2))]
    assert masked[1] * 2 == masked[0] * 7


def test_attention_apart_costs_three_times_its_forward_pass() -> None:
    """Kept probabilities need no score again: two gradients for each of two products."""
    eager = Eager().apply(GPT2)
    assert totals(Training().apply(eager)).flops == 3 * totals(eager).flops


def test_no_gradient_of_what_comes_from_the_host() -> None:
    """The first convolution has a gradient of its weight alone: twice its forward FLOPs."""
    image = PASSES["vit-b16"]
    assert flop_split(Training().apply(image))["conv"] == 2 * flop_split(image)["conv"]
    network = PASSES["resnet50"]
    first = counts(network.blocks[0].operators[0], network.blocks[0].tensors).flops
    assert flop_split(Training().apply(network))["conv"] == 3 * flop_split(network)["conv"] - first


def test_gpt3_step_is_six_flops_per_parameter_and_token() -> None:
    """Megatron-LM, arXiv 2104.04473, section 5.1: F = 96 B s l h^2 (1 + s / 6h + V / 16 l h).

    That formula counts full recomputation of the layers; without it 72 for 96, and the
    head's 6 B s h V unchanged.
    """
    batch, length, layers, width, vocabulary = 2, 2048, 96, 12288, 50257
    request = workload("gpt3-175b", prefill(batch, length), conventions=Conventions(logits="all"))
    unfused = Eager(scale=False, mask=False).apply(request)
    dense = batch * length * layers * width**2
    scores = length / (6 * width)
    head = 6 * batch * length * width * vocabulary
    kept = totals(Training().apply(unfused)).flops
    assert kept == pytest.approx(72 * dense * (1 + scores) + head, rel=1e-9)
    again = totals(Training(recompute="full").apply(unfused)).flops
    assert again == pytest.approx(96 * dense * (1 + scores) + head, rel=1e-9)


def test_recomputed_layers_run_their_forward_pass_again() -> None:
    """Full recomputation adds one forward pass of the layers, and keeps only their input."""
    full = Training(recompute="full").apply(GPT2)
    before, after = flop_split(GPT2), flop_split(full)
    assert after["linear"] == 4 * before["linear"]
    assert after["lm_head"] == 3 * before["lm_head"]
    kept = {tensor.name for block, tensor in saved(full) if block.name == "layers"}
    assert kept == {"hidden"}


def test_selective_recomputation_spares_the_scores() -> None:
    """Attention but its last product runs again; the quadratic activations are not kept."""
    eager = Eager().apply(GPT2)
    kept, spared = Training().apply(eager), Training(recompute="selective").apply(eager)
    scores = 12 * 1024 * 1024
    assert any(tensor.elements == scores for _, tensor in saved(kept))
    assert not any(tensor.elements == scores for _, tensor in saved(spared))
    one_product = flop_split(eager)["attention"] // 2
    assert flop_split(spared)["attention"] == 3 * flop_split(eager)["attention"] + one_product


def test_adam_reads_and_writes_its_states_once() -> None:
    """Parameters, gradients and two moments read; parameters and moments written."""
    alone = validate(update_pass(GPT2, Training(optimizer="adam", gradient="fp32")))
    elements = weight_elements(GPT2)
    moved = totals(alone)
    assert moved.weight_read_bytes == 2 * elements
    assert moved.state_read_bytes == (4 + 4 + 4) * elements
    assert moved.state_write_bytes == (4 + 4 + 2) * elements
    both = totals(Training(optimizer="adam", gradient="fp32").apply(GPT2))
    less = totals(Training(gradient="fp32").apply(GPT2))
    assert both.state_read_bytes - less.state_read_bytes == moved.state_read_bytes


def test_memory_holds_weights_gradients_and_kept_activations() -> None:
    """16 bytes per parameter in mixed precision (ZeRO, arXiv 1910.02054), and what is kept."""
    options = Training(optimizer="adam", gradient="bf16", master_weights=True)
    step = options.apply(GPT2)
    assert sum(resident_bytes(step).values()) == 16 * weight_elements(GPT2)
    need = memory_need(plan(step, arch.load("null"), mapping.load("roofline-best")))
    kept = sum(tensor.size_bytes * block.count for block, tensor in saved(step))
    assert need.activation_bytes > kept > 12 * 1024 * 768 * 2


def test_divided_layers_add_gradients_up_over_devices() -> None:
    """Tensor parallelism: an all-reduce after both halves forward, and after both backward."""
    design = arch.load("a100-80gb", {"devices": 2})
    policy = mapping.load("roofline-best", {"partition.tensor": 2})
    planned = plan(Training(loss="none").apply(GPT2), design, policy)
    found = {
        block.name: sorted(s.operator.name for s in block.steps if s.unit == "link")
        for block in planned.blocks
    }
    assert found["layers"] == ["down_proj.all_reduce", "o_proj.all_reduce"]
    assert found["layers.backward"] == [
        "qkv_proj.input_gradient.all_reduce", "up_proj.input_gradient.all_reduce",
    ]  # fmt: skip


def test_a_step_takes_longer_than_its_forward_pass_on_a_gpu() -> None:
    """Forward and backward are simulated in order: between two and five forward passes."""
    from accelsim.evaluation import simulate_workload

    design, policy = arch.load("a100-80gb"), mapping.load("roofline-best")
    times = [
        simulate_workload(w, design, policy).latency_s for w in (GPT2, Training().apply(GPT2))
    ]
    assert 2 * times[0] < times[1] < 5 * times[0]


def test_a_step_is_saved_and_read_back() -> None:
    """Recalled blocks survive the file."""
    step = Training(optimizer="adam").apply(GPT2)
    assert from_json(to_json(step)) == step


@pytest.mark.parametrize(
    ("model", "phase", "reason"),
    [
        ("gpt2", decode(1, 5), "earlier tokens in a cache"),
        ("mamba-130m", prefill(1, 16), "scan `scan` of block `layers` has no backward rule"),
    ],
)
def test_what_cannot_be_trained_is_refused(model: str, phase: object, reason: str) -> None:
    """A pass over a cache, and operators without a rule."""
    with pytest.raises(GraphError, match=reason):
        Training().apply(workload(model, phase))  # type: ignore[arg-type]


def test_an_update_needs_an_optimizer() -> None:
    """The step alone of no optimizer is refused."""
    with pytest.raises(GraphError, match="no optimizer"):
        update_pass(GPT2, Training())


def test_a_block_recalls_only_earlier_ones_as_often_repeated() -> None:
    """Legality: the forward block exists, comes first, and repeats as often."""
    from dataclasses import replace

    step = Training().apply(GPT2)
    wrong = tuple(
        replace(b, recalls=("nowhere",)) if b.name == "layers.backward" else b for b in step.blocks
    )
    with pytest.raises(GraphError, match="recalls `nowhere`"):
        validate(replace(step, blocks=wrong))
    fewer = tuple(replace(b, count=3) if b.name == "layers.backward" else b for b in step.blocks)
    with pytest.raises(GraphError, match="recalls `layers` of 12 repetitions, itself has 3"):
        validate(replace(step, blocks=fewer))


def test_a_loss_in_another_format_is_cast_to_and_from() -> None:
    """FP32 over BF16 logits: two casts, the loss's own kernels on twice the bytes."""
    base = workload("gpt2", prefill(1, 256), conventions=Conventions(logits="all"))
    plain, wide = (validate(Training(loss_format=f).apply(base)) for f in (None, "fp32"))
    blocks = [next(b for b in step.blocks if b.name == "loss") for step in (plain, wide)]
    names = [[str(o.attributes.get("function") or o.kind) for o in b.operators] for b in blocks]
    assert names == [
        ["softmax", "softmax_backward"], ["copy", "softmax", "softmax_backward", "copy"],
    ]  # fmt: skip
    ends = [b.tensors[b.operators[-1].outputs[0]].dtype for b in blocks]
    assert ends[0] == ends[1] != "fp32"
    size = [sum(t.size_bytes for o in b.operators for t in (b.tensors[o.outputs[0]],))
            for b in blocks]  # fmt: skip
    assert size[1] == size[0] / 2 * (2 + 2 + 2 + 1)
