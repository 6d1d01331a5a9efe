"""Parameters and FLOPs of every library model against the real class, built without weights.

Figures: transformers 5.23.0 on torch 2.13.0 ``meta`` tensors; parameters by ``numel``, FLOPs by
``torch.utils.flop_counter.FlopCounterMode`` for a prefill of 2 x 48 tokens, logits of all tokens,
``batched_mm`` experts.
"""

from __future__ import annotations

import pytest

from accelsim.workload import Conventions, decode, flop_split, load_model, prefill, workload

REAL = {
    "codellama-34b": (33_743_970_304, 6_435_605_839_872),
    "gpt-oss-120b": (116_829_156_672, 987_889_139_712),
    "gpt-oss-20b": (20_914_757_184, 694_383_280_128),
    "gpt2": (124_439_808, 23_888_019_456),
    "gpt2-large": (774_030_080, 149_095_956_480),
    "gpt2-medium": (354_823_168, 68_315_971_584),
    "gpt2-xl": (1_557_611_200, 299_970_048_000),
    "gpt3-175b": (174_604_259_328, 33_537_980_104_704),
    "llama2-13b": (13_015_864_320, 2_471_283_916_800),
    "llama2-70b": (68_976_648_192, 13_205_011_169_280),
    "llama2-7b": (6_738_415_616, 1_270_974_775_296),
    "llama3-70b": (70_553_706_496, 13_356_408_766_464),
    "llama3-8b": (8_030_261_248, 1_443_310_338_048),
    "llama3.1-405b": (405_853_388_800, 77_557_647_015_936),
    "llama3.2-1b": (1_235_814_400, 237_867_368_448),
    "mistral-7b": (7_241_732_096, 1_367_611_539_456),
    "mixtral-8x7b": (46_702_792_704, 2_450_144_624_640),
    "opt-13b": (12_853_473_280, 2_469_113_364_480),
    "opt-30b": (29_974_540_288, 5_757_770_661_888),
    "opt-6.7b": (6_658_473_984, 1_278_902_009_856),
    "opt-66b": (65_719_701_504, 12_623_951_167_488),
    "phi3-mini": (3_821_079_552, 716_508_758_016),
    "qwen1.5-moe-a2.7b": (14_315_784_192, 457_436_037_120),
    "qwen2.5-72b": (72_706_203_648, 13_732_084_187_136),
    "qwen2.5-7b": (7_615_616_512, 1_359_344_566_272),
    "qwen3-235b-a22b": (235_093_634_560, 4_155_179_532_288),
    "qwen3-30b-a3b": (30_532_122_624, 587_621_990_400),
    "qwen3-32b": (32_762_123_264, 6_150_502_219_776),
    "qwen3-8b": (8_190_735_360, 1_455_792_586_752),
    "tinyllama-1.1b": (1_100_048_384, 199_439_155_200),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(REAL))
def test_model_equals_the_real_class(name: str) -> None:
    """Parameters and matmul FLOPs are those of the class that runs the published checkpoint."""
    graph = workload(name, prefill(2, 48), conventions=Conventions(logits="all"))
    assert (graph.parameters, sum(flop_split(graph).values())) == REAL[name]


def test_llama3_8b_by_hand() -> None:
    """A decode step of Llama-3-8B, every number of it from the model card."""
    tokens, past = 16, 1023
    attention = 4096 * (32 + 8 + 8) * 128 + 32 * 128 * 4096
    mlp = 3 * 4096 * 14336
    split = flop_split(workload("llama3-8b", decode(tokens, past)))
    assert split["linear"] == 2 * tokens * 32 * (attention + mlp)
    assert split["lm_head"] == 2 * tokens * 4096 * 128256
    assert split["attention"] == 2 * tokens * 32 * 32 * 1024 * (128 + 128)


def test_qwen3_30b_a3b_active_parameters_by_hand() -> None:
    """A token of Qwen3-30B-A3B uses 8 of 128 experts of 3 x 2048 x 768 in each of 48 layers."""
    graph = workload("qwen3-30b-a3b", decode(1, 7))
    assert graph.parameters - graph.active_parameters == 48 * 120 * 3 * 2048 * 768


def test_a_sliding_window_bounds_the_cache() -> None:
    """Mistral-7B's window of 4096 covers the new token and 4095 cached ones, in every layer."""
    graph = workload("mistral-7b", decode(1, 30_000))
    assert graph.kv_bytes_per_token == 0
    assert graph.state_bytes_per_sequence == 4095 * 32 * 2 * 8 * 128 * 2
    assert flop_split(graph)["attention"] == 2 * 32 * 32 * 4096 * (128 + 128)


def test_gpt_oss_stores_experts_in_mxfp4() -> None:
    """The published checkpoint's routed experts take 4.25 bits per weight."""
    layers = workload("gpt-oss-20b", decode(1, 7)).blocks[1]
    up = layers.tensors["0.experts_gate_up_proj.weight"]
    assert load_model("gpt-oss-20b").dtypes.experts == up.dtype == "mxfp4"
    assert up.size_bytes == 32 * 2 * 2880 * 2880 * 17 // 32
