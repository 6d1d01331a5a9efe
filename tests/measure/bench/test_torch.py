"""The back-end on torch: right results, marked wrong ones, real clocks on the CPU."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from accelsim.measure.bench.case import Case, case  # noqa: E402
from accelsim.measure.bench.command import DONE, main  # noqa: E402
from accelsim.measure.bench.counts import counts  # noqa: E402
from accelsim.measure.bench.suites import names, suite  # noqa: E402
from accelsim.measure.bench.suites.attention import prefill  # noqa: E402
from accelsim.measure.bench.suites.layers import text_layer  # noqa: E402
from accelsim.measure.bench.table import Table  # noqa: E402
from accelsim.measure.bench.timing import Limits, OutOfMemory, Unsupported  # noqa: E402
from accelsim.measure.bench.torch_backend import backend as module  # noqa: E402
from accelsim.measure.bench.torch_backend.backend import (  # noqa: E402
    OPERATIONS,
    TOLERANCE,
    TorchBackend,
    max_relative_error,
)  # fmt: skip
from accelsim.measure.bench.torch_backend.outcomes import outcome_of  # noqa: E402
from accelsim.measure.bench.torch_backend.tensors import Tensors  # noqa: E402

QUICK = Limits(least=3, most=3, seconds=0.05)


@pytest.fixture(scope="module")
def cpu() -> TorchBackend:
    return TorchBackend("cpu", QUICK, threads=1)


def _kinds(name: str) -> list[Case]:
    """Return one case per operator, finer kind, format and implementation of a suite."""
    return list({(c.op, c.subop, c.dtype, c.impl): c for c in suite(name, "cpu")}.values())


@pytest.mark.parametrize("name", names())
def test_every_implementation_agrees_with_its_reference(name: str, cpu: TorchBackend) -> None:
    """All kinds of cases of all suites: within the tolerance, or refused with a reason."""
    refused = []
    for one in _kinds(name):
        try:
            found = cpu.check(one)
        except Unsupported:
            refused.append(one.impl if one.dtype != "tf32" else "tf32")
            continue
        assert found.passed, (one.label, found)
    assert set(refused) <= {"tf32", "sdpa.cudnn", "sdpa.efficient", "torch._scaled_mm"}


def test_reference_and_operands_are_the_same_numbers() -> None:
    """Rounded once, held in float64: the reference sees what the device sees."""
    for dtype in ("fp32", "bf16", "int8"):
        one, exact = (Tensors("cpu", dtype, 7, exact=e, host_values=True) for e in (False, True))
        for draw in (lambda t: t.normal(5, 3), lambda t: t.uniform(4), lambda t: t.ranks(2, 9)):
            assert torch.equal(draw(one).double(), draw(exact))


def _spoiled(of: Case, *operands: object) -> object:
    right = OPERATIONS[of.op].runs[of.impl](of, *operands)
    return right + 0.1 * right.abs().max() if right.dtype != torch.float64 else right


@pytest.mark.parametrize("op", ["gemm", "softmax", "bmm"])
def test_a_wrong_implementation_is_noticed(
    op: str, cpu: TorchBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of a tenth of the largest value fails every check."""
    one = next(c for c in suite("quick", "cpu") if c.op == op and c.dtype == "bf16")
    spoiled = replace(OPERATIONS[op], runs={one.impl: _spoiled})
    fresh = TorchBackend("cpu", QUICK)
    original = dict(OPERATIONS)
    monkeypatch.setattr(module, "OPERATIONS", {**original, op: spoiled})
    monkeypatch.setitem(_spoiled.__globals__, "OPERATIONS", original)
    found = fresh.check(one)
    assert not found.passed
    assert 0.05 < found.max_rel_error < 0.2


def test_the_error_of_what_is_no_number() -> None:
    """A result with a NaN is infinitely wrong."""
    expected = torch.ones(3, dtype=torch.float64)
    assert max_relative_error(torch.tensor([1.0, math.nan, 1.0]), expected) == math.inf
    assert max_relative_error((expected, expected * 1.5), (expected, expected)) == 0.5


def test_what_torch_raises_is_understood() -> None:
    """Memory and missing kernels are outcomes; a mistake of ours stays an error."""
    assert isinstance(
        outcome_of(torch.cuda.OutOfMemoryError("CUDA out of memory. x")), OutOfMemory
    )
    assert isinstance(outcome_of(RuntimeError("... can't allocate memory: you ...")), OutOfMemory)
    refused = RuntimeError("No available kernel. Aborting execution.")
    assert isinstance(outcome_of(refused), Unsupported)
    refused = RuntimeError("\"addmm_cuda\" not implemented for 'Float8_e4m3fn'")
    assert isinstance(outcome_of(refused), Unsupported)
    mistake = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert outcome_of(mistake) is mistake


def test_a_latency_is_that_of_the_call(cpu: TorchBackend) -> None:
    """A product of eight times the operations takes longer; cold takes no less than warm."""
    small, large = (
        case("gemm", "fp32", "torch.linear", m=size, n=size, k=size) for size in (128, 1024)
    )
    latency = {}
    for one in (small, large):
        with cpu.prepare(one) as prepared:
            latency[one] = prepared.time("wall", "warm").min_us
    assert latency[large] > 8 * latency[small]


def test_clocks_of_a_gpu_are_refused_on_a_cpu(cpu: TorchBackend) -> None:
    """A graph replay of the CPU does not exist, and is not made up."""
    one = case("gemm", "fp32", "torch.linear", m=8, n=8, k=8)
    with cpu.prepare(one) as prepared, pytest.raises(Unsupported, match="needs CUDA"):
        prepared.time("graph", "cold")


def test_a_slow_case_is_refused_after_its_first_calls() -> None:
    """What the estimate did not foresee costs two calls, not a full measurement."""
    slow = TorchBackend("cpu", QUICK, max_call_s=1e-9)
    one = case("gemm", "fp32", "torch.linear", m=64, n=64, k=64)
    with pytest.raises(Unsupported, match="one call takes"), slow.prepare(one):
        pass


def test_operands_that_a_cpu_draws_too_slowly_are_refused(cpu: TorchBackend) -> None:
    """A whole model's weights would take minutes before anything is measured."""
    one = next(c for c in suite("models", "cpu") if c.op == "model" and "llama3" in c.subop)
    with pytest.raises(Unsupported, match="GiB of operands"), cpu.prepare(one):
        pass


def test_absorbed_and_expanded_latent_attention_agree() -> None:
    """The last token of a prefill equals a decoding step over the same cache."""
    operation = OPERATIONS["layer"]
    full = operation.small(text_layer("deepseek-v2-lite", "fp32", 1, 24, 24))
    length = full.size("q_len")
    module_, x, cache, cos, sin = operation.operands(full, Tensors("cpu", "fp32", exact=True))
    with torch.inference_mode():
        expanded = module_(x, cache, cos, sin)
        absorbed = module_(x[:, -1:], cache.clone(), cos[length - 1 :], sin[length - 1 :])
    assert torch.allclose(expanded[:, -1:], absorbed, rtol=1e-9, atol=1e-9)


def test_counts_of_layers_are_torchs_own() -> None:
    """Multiply-accumulates of products and convolutions, as torch's counter sees them."""
    from torch.utils.flop_counter import FlopCounterMode

    for name in ("gpt", "encoder", "unet", "dit", "gqa", "mla"):
        of = next(c for s in ("layers", "diffusion") for c in suite(s, "cpu") if c.subop == name)
        operation = OPERATIONS["layer"]
        small = operation.small(of).computed(impl="torch.module", dtype="fp32")
        # torch counts all pairs; a decoding step has no masked ones.
        if "q_len" in dict(small.dims) and small.size("causal", 0):
            small = small.changed(q_len=1, kv_len=24)
        operands = operation.operands(small, Tensors("cpu", "fp32"))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            operation.runs["torch.module"](small, *operands)
        assert counter.get_total_flops() == counts(small).flops, name


def test_attention_kernels_agree_where_heads_are_shared(cpu: TorchBackend) -> None:
    """Grouped heads and a causal mask: the fused kernels against separate operators."""
    for impl in ("sdpa.flash", "sdpa.math", "unfused"):
        found = cpu.check(prefill(impl, "fp32", 1, (8, 2, 64), 100))
        assert found.max_rel_error < TOLERANCE["fp32"]


def test_a_suite_on_the_cpu(tmp_path: Path) -> None:
    """The real command measures small real cases and records all of them."""
    out = tmp_path / "t.csv"
    arguments = [
        "gemm", "--device", "cpu", "--out", str(out), "--dtypes", "fp32,tf32", "--limit", "12",
        "--seconds", "0.02", "--max-call-s", "0.05", "--threads", "1", "--l2", "warm",
    ]  # fmt: skip
    assert main(arguments) == DONE
    with Table(out) as table:
        rows = table.rows
    assert len(rows) == 12
    assert {row["status"] for row in rows} == {"ok", "skip"}
    for row in rows:
        if row["status"] == "ok":
            assert float(row["latency_us"]) >= float(row["lat_min_us"]) > 0
            assert float(row["max_rel_error"]) < TOLERANCE["fp32"]
        else:
            assert row["reason"].startswith("unsupported: ")
    assert main(arguments) == DONE
    with Table(out) as table:
        assert table.rows == rows
