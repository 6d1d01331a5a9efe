"""What rests in another memory: moves over paths, their overlap, and what fits where."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim import arch, mapping
from accelsim.arch import ArchitectureSpec
from accelsim.errors import ConfigError, InfeasibleError, MappingError
from accelsim.evaluation import evaluate
from accelsim.mapping import Step
from accelsim.workload import Phase, decode, load_model, prefill, workload

DRIVES = "arch.device.memories.flash.drives"


def layer(policy: str, name: str, phase: Phase, **changes: object) -> dict[str, Step]:
    """Return operator -> step over one layer of OPT-13B."""
    plan = mapping.plan(
        workload(load_model("opt-13b"), phase), arch.load(name), mapping.load(policy, changes)
    )
    layers = next(block for block in plan.blocks if block.count > 1)
    return {step.operator.name: step for step in layers.steps}


def before(steps: dict[str, Step], name: str) -> set[str]:
    """Return what a step waits for in its layer."""
    names = list(steps)
    return {names[i] for i in steps[name].here}


def test_a_step_fetches_the_cache_of_earlier_passes() -> None:
    """1536 tokens of 64 sequences, not the new one; nothing is waited for."""
    steps = layer("gpu-offload", "instinfer-ssd", decode(64, 1536))
    fetch = steps["attention.fetch"]
    assert fetch.unit == "path.flash"
    assert fetch.work.input_bytes == 64 * 1536 * 2 * 5120 * 2
    assert before(steps, "attention.fetch") == set()
    assert before(steps, "attention") == {"attention.fetch", "qkv_proj"}


def test_without_prefetch_a_fetch_waits_as_its_step_does() -> None:
    """Then loading and computing alternate, and a step takes the sum of both."""
    steps = layer("gpu-offload", "instinfer-ssd", decode(64, 1536), prefetch_weights=False)
    assert before(steps, "attention.fetch") == {"qkv_proj"}
    ahead, serial = (
        evaluate("opt-13b", "instinfer-ssd", "gpu-offload", batch=64, seq_len=1536, check=True,
                 overrides={"mapping.prefetch_weights": on})
        for on in (True, False)
    )  # fmt: skip
    assert ahead.latency_s == pytest.approx(ahead.busy_s["path.flash"], rel=2e-3)
    fetched = sum(o.compute_s * o.count for o in serial.operators if o.name == "attention.fetch")
    assert serial.latency_s == pytest.approx(fetched + serial.busy_s["sm"], rel=1e-3)


def test_a_prompt_writes_its_cache_behind_the_computing() -> None:
    """InstInfer's table III: 1.34 GB a layer; attention does not wait for them to be written."""
    steps = layer("gpu-storage", "instinfer", prefill(64, 1024))
    assert steps["kv_append"].unit == "path.flash"
    assert steps["kv_append"].work.input_bytes == 1_342_177_280
    assert before(steps, "attention") == {"qkv_proj"}
    assert "attention.fetch" not in steps
    found = evaluate("opt-13b", "instinfer", "gpu-storage", phase="prefill", batch=64, check=True)
    assert found.busy_s["path.flash"] > 0.8 * found.latency_s
    assert found.latency_s < 1.05 * found.busy_s["sm"]
    slow = evaluate("opt-13b", "instinfer-ssd", "gpu-offload", phase="prefill", batch=64)
    assert slow.latency_s < 1.05 * slow.busy_s["path.flash"]  # and there writing is the limit


def test_queries_go_to_the_drives_and_contexts_come_back() -> None:
    """Attention waits for its new key as well; the projection after it for the way back."""
    steps = layer("gpu-storage", "instinfer", decode(64, 1536))
    assert before(steps, "attention") == {"attention.send", "kv_append", "qkv_proj"}
    assert before(steps, "attention.return") == {"attention"}
    assert before(steps, "o_proj") == {"attention.return"}
    sizes = {n: s.work.input_bytes for n, s in steps.items() if s.unit == "path.flash"}
    vectors = 64 * 5120 * 2
    assert sizes == {
        "kv_append": 2 * vectors, "attention.send": vectors, "attention.return": vectors,
    }  # fmt: skip


def test_any_architecture_takes_a_path(tmp_path: Path) -> None:
    """An NPU appends with its vector unit and stores after that; score and context each fetch."""
    design, policy = tmp_path / "npu-drive.yaml", tmp_path / "npu-offload.yaml"
    design.write_text(
        "extends: npu/npu-tpuv4i\nname: npu-drive\ndevice:\n"
        "  memories: {flash: {extends: components/nvme_980pro}}\n"
        "  paths: {flash: {extends: components/pcie4_x4_nvme}}\n"
    )
    policy.write_text("extends: npu-only\nname: npu-offload\nkeep: {kv_cache: {within: flash}}\n")
    found = evaluate("gpt2", str(design), str(policy), batch=4, seq_len=256, check=True)
    on = {o.name: o.unit for o in found.operators if o.unit != "array" and o.block == "layers"}
    assert on["kv_append"] == "vector"
    assert on["kv_append.store"] == "path.flash"
    assert on["attention.score.fetch"] == on["attention.context.fetch"] == "path.flash"
    half = 4 * 256 * 768 * 2  # keys, or values, of a layer
    took = {o.name: o.compute_s for o in found.operators}
    assert took["attention.score.fetch"] == pytest.approx(1 / 22e3 + half / 7e9, rel=1e-6)


def test_equal_layers_are_extended_exactly() -> None:
    """Fetches that run ahead, and writes that lag behind, reach a steady period."""
    for policy, name, phase in (
        ("gpu-offload", "instinfer-ssd", "decode"), ("gpu-storage", "instinfer", "decode"),
        ("gpu-offload", "instinfer-ssd", "prefill"), ("gpu-storage", "instinfer", "prefill"),
    ):  # fmt: skip
        extended, whole = (
            evaluate("opt-13b", name, policy, phase=phase, batch=8, seq_len=256, exact=exact)
            for exact in (False, True)
        )
        assert extended.latency_s == pytest.approx(whole.latency_s, rel=1e-6)


def test_a_policy_that_keeps_nothing_apart_changes_nothing() -> None:
    """On the same GPU, moves and paths leave the weights' and activations' time as it was."""
    alone = evaluate("opt-13b", "a6000", "gpu-only", batch=4, seq_len=512)
    beside = evaluate("opt-13b", "instinfer-ssd", "gpu-only", batch=4, seq_len=512, check=True)
    assert beside.latency_s == alone.latency_s
    assert beside.busy_s["path.flash"] == 0


def test_attention_in_drives_without_a_cache_there_is_sent_it() -> None:
    """The unit's memory, not the policy's wish, decides what must move."""
    name = "kv_cache"
    kept = layer("gpu-storage", "instinfer", decode(4, 512))
    sent = layer("gpu-storage", "instinfer", decode(4, 512), **{f"keep.{name}.share": 0.0})
    assert "attention.fetch" not in kept
    assert sent["attention.fetch"].work.input_bytes == 4 * 513 * 2 * 5120 * 2
    assert sent["kv_append"].unit != "path.flash"


def test_a_share_of_the_weights_streams_from_the_host() -> None:
    """A quarter of every matrix, at 32 GB/s, ahead of its use."""
    change = {"mapping.keep.weight.share": 0.25}
    steps = layer("gpu-offload", "instinfer-ssd", decode(1, 16), **{"keep.weight.share": 0.25})
    assert steps["up_proj.fetch"].unit == "path.ddr"
    assert steps["up_proj.fetch"].work.input_bytes == pytest.approx(5120 * 20480 * 2 / 4, rel=1e-3)
    found = evaluate("opt-13b", "instinfer-ssd", "gpu-offload", batch=1, seq_len=16, check=True,
                     overrides=change)  # fmt: skip
    streamed = found.memory.weight_bytes * 0.25 / 32e9
    assert found.busy_s["path.ddr"] == pytest.approx(streamed, rel=0.02)


def test_a_share_of_the_cache_stays_beside_the_gpu() -> None:
    """Half of it is fetched, half of the new tokens are written to the drive."""
    steps = layer("gpu-offload", "instinfer-ssd", decode(4, 512), **{"keep.kv_cache.share": 0.5})
    assert steps["attention.fetch"].work.input_bytes == 4 * 512 * 2 * 5120
    assert steps["kv_append.store"].work.input_bytes == 4 * 2 * 5120
    assert before(steps, "attention") == {"attention.fetch", "kv_append", "qkv_proj"}
    evaluate("opt-13b", "instinfer-ssd", "gpu-offload", batch=4, seq_len=512, check=True,
             overrides={"mapping.keep.kv_cache.share": 0.5})  # fmt: skip


def test_what_is_kept_apart_need_not_fit_the_gpu() -> None:
    """100 GiB of cache: refused by 48 GiB of memory, held by a drive, refused by a small one."""
    point = {"model": "opt-13b", "arch": "instinfer-ssd", "batch": 64, "seq_len": 2047}
    with pytest.raises(InfeasibleError, match="memory `dram` of `instinfer-ssd`"):
        evaluate(mapping="gpu-only", **point)  # type: ignore[arg-type]
    assert evaluate(mapping="gpu-offload", **point).latency_s > 0  # type: ignore[arg-type]
    small = {"arch.device.memories.flash.capacity_bytes": "80 GB"}
    with pytest.raises(InfeasibleError, match=r"memory `flash`.*`gpu-offload` keeps there"):
        evaluate(mapping="gpu-offload", overrides=small, **point)  # type: ignore[arg-type]
    big = {"mapping.keep.weight.share": 0.35}
    where = {"batch": 64, "seq_len": 1024, "phase": "prefill"}
    with pytest.raises(InfeasibleError, match="memory `dram`"):
        evaluate("opt-30b", "instinfer", "gpu-storage", **where)  # type: ignore[arg-type]
    held = evaluate("opt-30b", "instinfer", "gpu-storage", overrides=big, **where)  # type: ignore[arg-type]
    assert held.latency_s > 0


def test_drives_share_heads_until_the_gpu_is_left() -> None:
    """Twice the drives halve what attention takes, and nothing else."""
    found = {
        n: evaluate("opt-13b", "instinfer", "gpu-storage", batch=64, seq_len=1536,
                    overrides={DRIVES: n})
        for n in (1, 2, 20)
    }  # fmt: skip
    flash = {n: result.busy_s["flash"] for n, result in found.items()}
    assert flash[1] / flash[2] == pytest.approx(2, rel=1e-6)
    assert flash[1] / flash[20] == pytest.approx(20, rel=1e-6)
    rest = {n: found[n].latency_s - flash[n] for n in found}
    assert rest[2] == pytest.approx(rest[20], rel=0.2)


def without(name: str, *paths: str) -> ArchitectureSpec:
    """Return an architecture without some of its paths."""
    spec = arch.load(name)
    left = {n: path for n, path in spec.device.paths.items() if n not in paths}
    return spec.model_copy(update={"device": spec.device.model_copy(update={"paths": left})})


def test_a_memory_without_a_path_keeps_nothing() -> None:
    """The message names policy, architecture and the memories that are joined."""
    built = workload(load_model("gpt2"), decode(1, 16))
    with pytest.raises(MappingError, match=r"`gpu-offload` keeps kv_cache in `flash`.*: ddr"):
        mapping.plan(built, without("instinfer-ssd", "flash"), mapping.load("gpu-offload"))
    with pytest.raises(MappingError, match="by a path: none"):
        mapping.plan(built, arch.load("a6000"), mapping.load("gpu-offload"))


@pytest.mark.parametrize("name", ["dram", "tape"])
def test_a_path_joins_two_memories_that_exist(tmp_path: Path, name: str) -> None:
    """A path to the main memory, or to none, is an error in the file."""
    file = tmp_path / "wrong.yaml"
    paths = "{" + name + ": {extends: components/pcie4_x16_host}}"
    file.write_text(f"extends: pim/instinfer-ssd\nname: wrong\ndevice: {{paths: {paths}}}\n")
    with pytest.raises(ConfigError, match=f"`{name}` is none of: flash, ddr"):
        arch.load(str(file))
