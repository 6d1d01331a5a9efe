"""Laws that every shipped architecture keeps, whatever it is: nobody can forget to test one."""

from __future__ import annotations

import pytest

from accelsim import arch
from accelsim.config import library
from accelsim.errors import InfeasibleError, MappingError
from accelsim.evaluation import evaluate
from tests.contract.outcome import outcome

NAMES = library.names("arch")
SMALL = ("gpt2", "llama3.2-1b", "qwen3-30b-a3b")
"""Dense with learned positions, grouped-query with gated MLP, and mixture of experts."""


def memory_scale(name: str) -> dict[str, float] | None:
    """Return overrides that double main memory's bandwidth, None where there is no such field."""
    loaded = arch.load(name)
    memory = arch.main_memory(loaded)
    field = "channels" if hasattr(memory, "channels") else "bandwidth_bytes_per_s"
    value = getattr(memory, field, None)
    if not value or value == float("inf"):
        return None
    return {f"arch.device.memories.{loaded.device.main_memory}.{field}": 2 * value}


@pytest.mark.parametrize("name", NAMES)
def test_the_file_loads_and_its_name_is_its_own(name: str) -> None:
    """What the library lists is what the file says."""
    assert arch.load(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_has_a_source(name: str) -> None:
    """A component's own, its default, or an expression over others that have one."""
    identity = ("name", "family", "description", "kind")
    missing = [
        path
        for path, _, source in arch.parameters(name)
        if not source and path.rsplit(".", 1)[-1] not in identity
    ]
    assert not missing


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("name", NAMES)
def test_small_workloads_run_or_are_refused_with_a_reason(
    name: str, model: str, phase: str
) -> None:
    """Results pass the conservation checks and cost something; refusals say what is short."""
    result = outcome(model, name, "roofline-best", phase=phase, batch=2, seq_len=128)
    if isinstance(result, InfeasibleError):
        assert result.needed > result.available > 0
        return
    if isinstance(result, MappingError):
        assert "refuses" in str(result)
        return
    assert result.energy_j >= 0
    units = arch.load(name).device.units.values()
    if not any(getattr(unit, "kind", "") == "null" for unit in units):  # one that takes no time
        assert result.latency_s > 0
        assert result.energy_j > 0
        assert result.area_mm2 > 0
        assert 0 < result.utilisation <= 1


def require_gpt2(name: str) -> None:
    """Skip an architecture that refuses the laws' model: an array of integers, or of products."""
    if isinstance(reason := outcome("gpt2", name, "roofline-best", phase="decode"), MappingError):
        pytest.skip(f"{name} does not run gpt2: {reason}")


@pytest.mark.parametrize("name", [n for n in NAMES if n != "null"])
def test_more_bandwidth_is_never_slower(name: str) -> None:
    """Twice the memory channels, or twice the bandwidth, cannot take longer."""
    overrides = memory_scale(name)
    if overrides is None:
        pytest.skip(f"{name} has no scalable main memory")
    require_gpt2(name)
    for phase in ("prefill", "decode"):
        slow = evaluate("gpt2", name, "roofline-best", phase=phase, batch=4, seq_len=256)
        fast = evaluate(
            "gpt2", name, "roofline-best", phase=phase, batch=4, seq_len=256, overrides=overrides
        )
        assert fast.latency_s <= slow.latency_s * (1 + 1e-9)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "null"])
def test_a_longer_cache_is_never_faster(name: str) -> None:
    """Decode reads the whole cache."""
    require_gpt2(name)
    short, long = (
        evaluate("gpt2", name, "roofline-best", phase="decode", batch=4, seq_len=n).latency_s
        for n in (128, 1000)
    )
    assert long >= short
