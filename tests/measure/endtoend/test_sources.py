"""What each source's rows are taken to have run: one synthetic row per kind of row."""

from __future__ import annotations

import math
from typing import Any

import pytest

from accelsim.measure.endtoend import Recipe, Row, recipe_of, simulate
from accelsim.measure.endtoend.recipe import decoding, workload_of
from accelsim.measure.endtoend.rows import measured_ms
from accelsim.workload import flop_split, totals
from accelsim.workload.transforms.eager import Eager
from accelsim.workload.transforms.training import Training

BOARD = "A100-SXM4-80GB"


def row(source: str, model: str, phase: str, **given: Any) -> Row:
    """Return a row of the table with defaults where nothing is given."""
    data: dict[str, Any] = {
        "number": 0, "gpu": BOARD, "n_devices": 1, "batch": 2, "seq_in": 128, "seq_out": 0,
        "dtype": "fp16", "impl": "", "metric": "latency_ms", "value": 10.0, "notes": "",
    }  # fmt: skip
    return Row(source=source, model=model, phase=phase, **(data | given))


def recipe(source: str, model: str, phase: str, **given: Any) -> Recipe:
    """Return the recipe of such a row, which must have one."""
    found = recipe_of(row(source, model, phase, **given))
    assert isinstance(found, Recipe), found
    return found


def reason(source: str, model: str, phase: str, **given: Any) -> str:
    """Return why such a row has no recipe."""
    found = recipe_of(row(source, model, phase, **given))
    assert isinstance(found, str)
    return found


def test_neusight_inference_is_eager_with_all_logits() -> None:
    """Two sequences of 64: 2 * 64 rows of logits, unfused attention, launched from Python."""
    found = recipe("neusight", "gpt2_large", "inference", seq_in=64, dtype="fp32", impl="hf-eager")
    (one,) = found.passes
    assert (one.model, one.phase, found.launch) == ("gpt2-large", "prefill", "python")
    built = workload_of(one)
    head = flop_split(built)["lm_head"]
    assert head == 2 * 2 * 64 * 50257 * 1280
    assert {o.kind for _, o in built.operators()} >= {"softmax"}
    assert all(t.dtype in ("fp32", "int32") for b in built.blocks for t in b.tensors.values())


def test_neusight_training_adds_the_backward_pass_to_the_same_forward() -> None:
    """Of one label there are two figures: the forward pass in training mode, and both."""
    given: dict[str, Any] = {"seq_in": 64, "dtype": "fp32", "impl": "hf-eager"}
    both = recipe("neusight", "bert_large", "training", **given)
    first = recipe("neusight", "bert_large", "training", metric="fw_latency_ms", **given)
    (one,), (forward,) = both.passes, first.passes
    assert one.transforms[:-1] == forward.transforms
    assert totals(workload_of(one)).flops == 3 * totals(workload_of(forward)).flops
    assert Eager(separate_projections=True, dropout=True, copies="all") in one.transforms
    back = recipe("neusight", "bert_large", "training", metric="bw_latency_ms", **given)
    times = [simulate(found).latency_ms for found in (both, first, back)]
    assert times[0] == pytest.approx(times[1] + times[2])
    assert times[2] > times[1]


def test_neusight_in_parallel_is_tensor_parallel_or_refused() -> None:
    """Megatron over four GPUs: divided layers, or stages one after the other; no shared data."""
    given: dict[str, Any] = {"n_devices": 4, "dtype": "fp32"}
    ways = [
        recipe("neusight", "gpt2_large", "training", impl=impl, **given).tensor
        for impl in ("megatron-tp4", "megatron-pp4_1")
    ]
    assert ways == [4, 1]
    assert "not mapped" in reason(
        "neusight", "gpt2_large", "training", impl="megatron-dp4", **given
    )


def test_llmcompass_layer_is_the_sum_of_its_operators() -> None:
    """Twelve operators of one layer on four GPUs, each with what its clock adds."""
    given: dict[str, Any] = {"n_devices": 4, "batch": 8, "seq_in": 512}
    whole = recipe("llmcompass", "gpt3-175b", "layer_prefill", **given)
    names = (
        "LayerNorm_MHA", "Q_K_V", "Q_mul_K", "Softmax", "A_mul_V", "Wo_proj", "AllReduce_MHA",
        "LayerNorm_FFN", "W1_proj", "GeLU", "W2_proj", "AllReduce_FFN",
    )  # fmt: skip
    parts = [
        simulate(recipe("llmcompass", "gpt3-175b", "layer_prefill", metric=f"op_ms:{n}", **given))
        for n in names
    ]
    assert len(whole.operators) == 14  # query, key and value are three products
    assert simulate(whole).latency_ms == pytest.approx(sum(p.latency_ms for p in parts))
    assert all(p.latency_ms > 0 for p in parts)
    assert "not one of the layer" in reason(
        "llmcompass", "gpt3-175b", "layer_prefill", metric="op_ms:Sort", **given
    )


def test_llmcompass_decodes_the_last_token() -> None:
    """A step after prompt and all but the last answer token: 2048 + 1024 keys."""
    found = recipe("llmcompass", "gpt3-175b", "layer_decode", n_devices=4, seq_in=2048,
                   seq_out=1024)  # fmt: skip
    (score,) = [
        o for _, o in workload_of(found.passes[0]).operators()
        if o.attributes.get("function") == "score"
    ]  # fmt: skip
    assert score.dims["n"] == 3072


def test_a_diffusion_generation_is_text_steps_and_decoder() -> None:
    """30 steps over twice the images, with attention in one kernel by xformers only."""
    given: dict[str, Any] = {"seq_in": 512, "seq_out": 30, "batch": 3}
    plain = recipe("lambda-diffusers", "stable-diffusion-v1.4", "diffusion", impl="d", **given)
    text, steps, image = plain.passes
    assert (text.batch, steps.batch, image.batch) == (6, 6, 3)
    assert (steps.times, text.times) == (30, 1)
    fast = recipe("lambda-diffusers", "stable-diffusion-v1.4", "diffusion", impl="d+xformers",
                  **given)  # fmt: skip
    kinds = [{o.kind for _, o in workload_of(r.passes[1]).operators()} for r in (plain, fast)]
    assert ["attention" in k for k in kinds] == [False, True]


def test_full_precision_products_multiply_in_tf32_on_ampere() -> None:
    """In every network of the pipeline; V100 has no TF32, and FP16 needs none."""
    given: dict[str, Any] = {"seq_in": 512, "seq_out": 30, "dtype": "fp32"}
    ampere = recipe("lambda-diffusers", "stable-diffusion-v1.4", "diffusion", **given)
    volta = recipe("lambda-diffusers", "stable-diffusion-v1.4", "diffusion",
                   gpu="V100-SXM2-16GB", **given)  # fmt: skip
    half = recipe("lambda-diffusers", "stable-diffusion-v1.4", "diffusion",
                  **(given | {"dtype": "fp16"}))  # fmt: skip
    assert all(one.tf32 == {"conv", "matmul", "attention"} for one in ampere.passes)
    assert not any(one.tf32 for one in (*volta.passes, *half.passes))
    built = workload_of(ampere.passes[2])
    block, conv = next((b, o) for b, o in built.operators() if o.kind == "conv")
    assert block.tensors[conv.inputs[0]].dtype == "tf32"


@pytest.mark.parametrize("source", ["diffusers-docs", "stable-fast"])
def test_an_iteration_is_one_network_pass(source: str) -> None:
    """Per iteration the network runs once; compiled code is replayed as a graph."""
    given: dict[str, Any] = {"seq_in": 512, "seq_out": 50, "metric": "unet_iters_per_s"}
    name = "stable-diffusion-v1.5-txt2img"
    eager = recipe(source, name, "diffusion", impl="Vanilla", **given)
    compiled = recipe(source, name, "diffusion", impl="torch.compile", **given)
    assert [len(r.passes) for r in (eager, compiled)] == [1, 1]
    assert (eager.launch, compiled.launch) == ("python", "graph")
    assert eager.attention == compiled.attention == "flash-1"
    kinds = [{o.attributes.get("function") for _, o in workload_of(r.passes[0]).operators()}
             for r in (eager, compiled)]  # fmt: skip
    assert ["copy" in k for k in kinds] == [True, False]  # a compiler fuses changes of layout
    assert "no model" in reason(source, "stable-diffusion-v1.5-controlnet", "diffusion", **given)


def test_a_sharded_step_is_its_micro_batches_and_a_share_of_the_update() -> None:
    """96 sequences over 8 GPUs in micro-batches of 6: 2 passes and an eighth of the update."""
    notes = "micro_batch=6 sharding=FULL_SHARD act_ckpt=True params=1"
    found = recipe("llm-foundry", "mpt-125m", "training", batch=96, n_devices=8, seq_in=512,
                   dtype="bf16", metric="tokens_per_s_per_gpu", notes=notes)  # fmt: skip
    step, update = found.passes
    assert (step.times, step.batch, update.times, update.update) == (2, 6, 1 / 8, True)
    training = step.transforms[-1]
    assert isinstance(training, Training)
    assert (training.recompute, training.optimizer) == ("full", "none")
    assert totals(workload_of(update)).flops == 0
    assert found.gathered == 8
    assert "several nodes" in reason("llm-foundry", "mpt-125m", "training", n_devices=64,
                                     notes=notes)  # fmt: skip


def test_a_pipeline_fills_once_per_interleaved_stage() -> None:
    """64 micro-batches through 8 stages, 3 loops: 64 + 7 / 3 passes of 12 layers."""
    notes = "tp=8 pp=8 dp=1 micro=1 interleave=3 recompute=attn_only tp_comm=rs_ag"
    found = recipe("calculon", "gpt3-175b", "training", batch=64, n_devices=64, seq_in=256,
                   notes=notes)  # fmt: skip
    one, update = found.passes
    assert one.times == pytest.approx(64 + 7 / 3)
    assert (update.update, update.times) == (True, 1 / 8)  # every GPU updates its own weights
    assert found.tensor == 8
    counts = {block.name: block.count for block in workload_of(one).blocks}
    assert counts["layers"] == counts["layers.backward"] == 12


def test_a_generation_is_a_prefill_and_the_other_tokens() -> None:
    """64 tokens: one from the prefill, 63 decoded."""
    found = recipe("fastertransformer", "gpt-6.7b", "generate", seq_out=64,
                   impl="fastertransformer", notes="tp=1 pp=1")  # fmt: skip
    first, *rest = found.passes
    assert (first.phase, found.launch) == ("prefill", "native")
    assert sum(one.times for one in rest) == 63
    assert {one.phase for one in rest} == {"decode"}
    assert sum(n for _, n in decoding(128, 63)) == 63
    assert list(decoding(5, 0)) == []


def test_time_per_token_is_a_mean_and_time_to_first_token_the_prefill() -> None:
    """Of vLLM's figures each is a part of the generation; a power is none."""
    given: dict[str, Any] = {"seq_out": 32, "n_devices": 2}
    token = recipe("splitwise", "llama2-70b", "generate", metric="tpot_ms", **given)
    first = recipe("splitwise", "llama2-70b", "generate", metric="ttft_ms", **given)
    assert math.isclose(sum(one.times for one in token.passes), 1)
    assert [one.phase for one in first.passes] == ["prefill"]
    assert "power" in reason("splitwise", "llama2-70b", "generate", metric="avg_power_frac_tdp",
                             **given)  # fmt: skip
    assert "queueing" in reason("splitwise", "llama2-70b", "generate", metric="ttft_ms",
                                **(given | {"batch": 16}))  # fmt: skip


def test_weights_of_four_bits_come_in_groups() -> None:
    """gpt-fast's int4 weights have a scale per 32; activations stay in bf16."""
    found = recipe("gpt-fast", "llama-2-7b", "decode", dtype="int4_wo", batch=1, seq_in=5,
                   seq_out=200, metric="tokens_per_s")  # fmt: skip
    (one,) = found.passes
    assert (one.weight, one.dtype, one.seq_len, found.launch) == ("int4_g32", "bf16", 105, "graph")


def test_a_server_whose_batch_does_not_fit_has_a_reason() -> None:
    """64 sequences of 4096 tokens of Llama 2 7B need more than 80 GB at once."""
    from accelsim.errors import InfeasibleError

    found = recipe("lmdeploy", "llama2-7b", "generate", batch=64, seq_in=2048, seq_out=2048,
                   metric="tpot_p50_ms")  # fmt: skip
    with pytest.raises(InfeasibleError, match="a server runs fewer sequences"):
        simulate(found)


def test_encoders_run_as_their_framework_does() -> None:
    """FasterTransformer's BERT is layers alone; TorchScript projects apart; XLA compiles."""
    fused = recipe("fastertransformer", "bert-base", "inference", impl="fastertransformer(p)")
    script = recipe("fastertransformer", "bert-base", "inference", impl="torchscript(pytorch)")
    xla = recipe("fastertransformer", "bert-base", "inference", impl="tensorflow-xla(tensorflow)")
    assert [r.launch for r in (fused, script, xla)] == ["native", "script", "compiled"]
    assert [b.name for b in workload_of(fused.passes[0]).blocks] == ["layers"]
    long = recipe("fastertransformer", "vit-b16-384", "inference", seq_in=577,
                  impl="fastertransformer-cpp")  # fmt: skip
    kinds = [{o.kind for _, o in workload_of(r.passes[0]).operators()} for r in (fused, xla, long)]
    assert ["attention" in k for k in kinds] == [True, False, False]
    assert "int8" in reason("fastertransformer", "vit-b16-224", "inference", dtype="int8")
    assert "disentangled" in reason("tensorrt-demo", "deberta-v3-large", "inference")


def test_figures_are_milliseconds_of_a_pass() -> None:
    """Rates become times of what they count, over all devices."""
    pairs = [
        ({"metric": "latency_ms", "value": 7.0}, 7.0),
        ({"metric": "tokens_per_s", "value": 50.0, "batch": 1}, 20.0),
        ({"metric": "unet_iters_per_s", "value": 8.0}, 125.0),
        ({"metric": "sequences_per_s", "value": 32.0, "batch": 8, "n_devices": 2}, 500.0),
        ({"metric": "tokens_per_s_per_gpu", "value": 1e3, "batch": 16, "seq_in": 500,
          "n_devices": 8}, 1000.0),
    ]  # fmt: skip
    for given, expected in pairs:
        assert measured_ms(row("x", "m", "training", **given)) == pytest.approx(expected)
    assert "no time" in str(measured_ms(row("x", "m", "training", metric="mfu_pct")))
    assert "batch" in str(measured_ms(row("x", "m", "training", metric="images_per_s", batch=0)))


def test_unknown_sources_and_boards_say_so() -> None:
    """A row of which nothing is known keeps the reason."""
    assert "no recipes for the source somebody" in reason("somebody", "m", "inference")
    assert "no architecture file of the board Abacus" in reason(
        "neusight", "gpt2_large", "inference", gpu="Abacus"
    )
