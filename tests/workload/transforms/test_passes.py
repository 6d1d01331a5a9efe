"""Transforms of one pass against closed forms."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from accelsim.errors import GraphError
from accelsim.workload import (
    Role,
    decode,
    flop_split,
    forward,
    prefill,
    resident_bytes,
    totals,
    validate,
    workload,
)
from accelsim.workload.transforms.kv_eviction import KvEviction
from accelsim.workload.transforms.kv_head_classes import KvHeadClasses
from accelsim.workload.transforms.kv_low_rank import KvLowRank
from accelsim.workload.transforms.kv_offload import KvOffload
from accelsim.workload.transforms.lora import Lora
from accelsim.workload.transforms.low_rank_weights import LowRankWeights
from accelsim.workload.transforms.number_formats import NumberFormats
from accelsim.workload.transforms.sparse_attention import SparseAttention, window_density
from accelsim.workload.transforms.token_reduction import TokenReduction
from accelsim.workload.transforms.weight_sparsity import WeightSparsity

LONG = workload("llama2-7b", decode(2, 9999))
PROMPT = workload("llama2-7b", prefill(1, 2048))
LAYERS, HIDDEN, MLP, HEADS, WIDTH = 32, 4096, 11008, 32, 128
MATRICES = LAYERS * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * MLP)


def test_grouped_weights_take_their_bits_and_scales() -> None:
    """4 bits and 1/128 of an FP16 scale for the layers; embedding and head stay as they are."""
    small = NumberFormats(weight="int4_g128").apply(LONG)
    saved = resident_bytes(LONG)[Role.WEIGHT] - resident_bytes(small)[Role.WEIGHT]
    assert saved == MATRICES * (16 - 4 - 16 / 128) / 8
    assert totals(small).flops == totals(LONG).flops


def test_keys_and_values_may_have_formats_of_their_own() -> None:
    """2-bit keys and 4-bit values take 3/16 of BF16; the append shrinks with them."""
    small = NumberFormats(weight=None, key="int2", value="int4").apply(LONG)
    assert totals(small).kv_read_bytes * 16 == totals(LONG).kv_read_bytes * 3
    assert totals(small).kv_write_bytes * 16 == totals(LONG).kv_write_bytes * 3
    assert small.kv_bytes_per_token * 16 == LONG.kv_bytes_per_token * 3


def test_partial_sums_cross_links_in_the_accumulators_format() -> None:
    """An all-reduce in FP32 moves twice the bytes of one in BF16; nothing else changes."""
    from accelsim import arch, mapping
    from accelsim.evaluation import simulate_workload

    exact = NumberFormats(weight=None, accumulator="fp32").apply(PROMPT)
    assert totals(exact) == totals(PROMPT)
    design = arch.load("a100-80gb", {"devices": 2})
    policy = mapping.load("roofline-best", {"partition.tensor": 2})
    sent = [
        sum(r.traffic_bytes for r in simulate_workload(w, design, policy).operators
            if r.name.endswith("down_proj.all_reduce"))
        for w in (PROMPT, exact)
    ]  # fmt: skip
    assert sent[1] == 2 * sent[0] > 0


def test_two_of_four_halves_macs_and_adds_two_bits_per_weight_kept() -> None:
    """Zeros are counted apart, and metadata is stored: (16 + 2) / 2 bits per weight."""
    sparse = WeightSparsity().apply(PROMPT)
    assert totals(sparse).macs == totals(PROMPT).macs
    assert totals(sparse).zero_macs == MATRICES * 2048 // 2
    saved = resident_bytes(PROMPT)[Role.WEIGHT] - resident_bytes(sparse)[Role.WEIGHT]
    assert saved == MATRICES * (16 - 9) // 8


@pytest.mark.parametrize(
    ("given", "bits"),
    [
        ({"pattern": "unstructured", "density": 0.3}, 1.0),
        ({"pattern": "unstructured", "density": 0.25, "format": "csr"}, 0.25 * 12),
        ({"pattern": "block", "density": 0.5, "block": (32, 32)}, 1 / 1024),
        ({"pattern": "1:8"}, 3 / 8),
    ],
)
def test_metadata_follows_the_format(given: dict[str, object], bits: float) -> None:
    """A bitmap, column numbers, a bit per block, a place among M."""
    assert WeightSparsity(**given).metadata_bits((4096, 4096)) == bits  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given", [{"pattern": "4:2"}, {"pattern": "2:4", "density": 0.4}, {"pattern": "block"}]
)
def test_an_impossible_sparsity_is_refused(given: dict[str, object]) -> None:
    """A pattern that keeps more than there is, contradicts its density, or lacks one."""
    with pytest.raises(ValidationError, match=r"keeps more|is not that|needs a density"):
        WeightSparsity(**given)  # type: ignore[arg-type]


def test_eviction_bounds_what_is_attended_to() -> None:
    """A step after 9,999 tokens attends to 4 + 1020, whose cache no longer grows."""
    bounded = KvEviction().apply(LONG)
    assert flop_split(bounded)["attention"] * 10_000 == flop_split(LONG)["attention"] * 1024
    assert bounded.kv_bytes_per_token == 0
    assert bounded.state_bytes_per_sequence == 1024 * LONG.kv_bytes_per_token
    assert totals(KvEviction().apply(PROMPT)) == totals(PROMPT)  # prompts are read in full


def test_a_share_of_the_others_keeps_growing() -> None:
    """Heavy hitters of a fifth of the sequence grow at a fifth of the rate."""
    heavy = KvEviction(sinks=0, recent=0, heavy=0.2).apply(LONG)
    assert flop_split(heavy)["attention"] * 5 == flop_split(LONG)["attention"]
    assert heavy.kv_bytes_per_token == pytest.approx(LONG.kv_bytes_per_token / 5, rel=1e-4)


def test_head_classes_split_flops_and_cache() -> None:
    """A quarter of the heads sees all tokens, the others 64 + 256."""
    split = validate(KvHeadClasses(retrieval=0.25).apply(LONG))
    pairs = 10_000 / 4 + 320 * 3 / 4
    assert flop_split(split)["attention"] / flop_split(LONG)["attention"] == pairs / 10_000
    assert split.kv_bytes_per_token * 4 == LONG.kv_bytes_per_token
    assert totals(split).kv_write_bytes == totals(LONG).kv_write_bytes


def test_a_low_rank_cache_is_rebuilt_for_every_token() -> None:
    """Half the bytes; 2 T rank width MACs more per sequence, layer and of keys and values."""
    thin = validate(KvLowRank(kept=0.5).apply(LONG))
    assert resident_bytes(thin)[Role.KV_CACHE] * 2 == resident_bytes(LONG)[Role.KV_CACHE]
    rank, width, rows = 2048, 4096, 2 * 10_000
    rebuilt = LAYERS * 2 * rows * rank * width
    merged = LAYERS * 2 * 2 * (width - rank) * HIDDEN  # two tokens project to latents
    assert totals(thin).macs - totals(LONG).macs == rebuilt - merged


def test_offloading_leaves_no_cache_and_fetches_its_bytes() -> None:
    """What a step attends to passes through; a share of it where the fetch is sparse."""
    away = validate(KvOffload().apply(LONG))
    assert resident_bytes(away)[Role.KV_CACHE] == 0
    fetched = [o for _, o in away.operators() if o.label == "kv_fetch"]
    size = sum(o.dims["size_bytes"] for o in fetched) * LAYERS
    assert size == resident_bytes(LONG)[Role.KV_CACHE]
    sparse = KvOffload(fetched=0.1).apply(LONG)
    assert flop_split(sparse)["attention"] * 10 == flop_split(LONG)["attention"]


def test_lora_adds_two_thin_products_per_layer() -> None:
    """Rank times the sum of both widths, for weights once and for MACs per row."""
    thin = LAYERS * 8 * ((HIDDEN + 3 * HIDDEN) + 2 * HIDDEN)
    one = validate(Lora().apply(PROMPT))
    assert one.parameters - PROMPT.parameters == thin
    assert totals(one).macs - totals(PROMPT).macs == thin * 2048
    four = validate(Lora(adapters=4).apply(PROMPT))
    assert four.parameters - PROMPT.parameters == 4 * thin
    assert totals(four).macs == totals(one).macs


def test_a_decomposition_keeps_its_share() -> None:
    """Rank ``kept n k / (n + k)``; parameters and FLOPs of the layers shrink alike."""
    thin = validate(LowRankWeights(kept=0.5).apply(PROMPT))
    before, after = flop_split(PROMPT)["linear"], flop_split(thin)["linear"]
    assert after / before == pytest.approx(0.5, rel=1e-3)
    assert (PROMPT.parameters - thin.parameters) / MATRICES == pytest.approx(0.5, rel=1e-3)


def test_a_window_keeps_the_product_of_its_shares() -> None:
    """In each dimension the window's part, at most all of it."""
    assert window_density((30, 48, 80), (18, 24, 24)) == 0.6 * 0.5 * 0.3
    assert window_density((8, 8), (16, 4)) == 0.5
    video = workload("wan2.1-t2v-1.3b", forward(1))
    sparse = SparseAttention(grid=(21, 30, 52), window=(7, 15, 26)).apply(video)
    dense, kept = flop_split(video)["attention"], flop_split(sparse, unmasked=True)["attention"]
    cross = 30 * 2 * 2 * 32760 * 512 * 12 * 128  # to the text, which stays dense
    assert (kept - cross) / (dense - cross) == pytest.approx(1 / 12, rel=1e-6)


def test_merging_shortens_every_layer() -> None:
    """Each layer's linear FLOPs follow its tokens; the match is a product of its own."""
    base = workload("vit-l16", forward(2))
    less = validate(TokenReduction(merged=8).apply(base))
    tokens = [197 - 8 * layer for layer in range(24)]
    per_token = 2 * 2 * 12 * 1024 * 1024
    classifier = 2 * 2 * 1000 * 1024
    assert flop_split(less)["linear"] == sum(tokens) * per_token + classifier
    halves = sum((n // 2) ** 2 for n in tokens)
    assert flop_split(less)["token_merge"] == 2 * 2 * halves * 64
    assert less.parameters == base.parameters


def test_pruning_takes_effect_after_its_layers() -> None:
    """Half the tokens after the fourth layer: eight of twelve layers see half."""
    base = workload("bert-base", forward(1, 512))
    less = validate(TokenReduction(merged=0, kept=0.5, after=(3,)).apply(base))
    layer = 2 * 12 * 768 * 768
    assert flop_split(base)["linear"] - flop_split(less)["linear"] >= 8 * 256 * layer


@pytest.mark.parametrize(
    ("transform", "base", "text"),
    [
        (TokenReduction(), LONG, "attends over no stream"),
        (TokenReduction(block="blocks"), PROMPT, "no block `blocks`; it has embedding"),
        (KvLowRank(), workload("deepseek-v2-lite", decode(1, 99)), "no fused projection"),
    ],
)
def test_what_has_no_such_form_is_refused(transform: object, base: object, text: str) -> None:
    """The error names what is missing."""
    with pytest.raises(GraphError, match=text):
        transform.apply(base)  # type: ignore[attr-defined]
