"""The one way through: phases, overrides, engines and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from accelsim.config import library
from accelsim.engine import simulate
from accelsim.errors import ConfigError, InfeasibleError, UnknownNameError
from accelsim.evaluation import evaluate
from accelsim.workload import load_model
from accelsim.workload.families import family

MODELS = [name for name in library.names("models") if load_model(name).family != "pipeline"]


@pytest.mark.parametrize("model", MODELS)
def test_both_engines_agree_on_every_model_of_the_library(model: str) -> None:
    """Start and end of every task, to the picosecond, on the graph of a real model."""
    overrides = {
        "arch.device.memories.hbm.capacity_bytes": "8 TiB",
        "model.dtypes.activation": "bf16",  # the array has no fp32
    }
    phase = family(load_model(model).family).PHASES[0]
    result = evaluate(
        model, "npu-pim-blocked", "roofline-best", phase=phase,
        batch=2, seq_len=64, overrides=overrides,
    )  # fmt: skip
    schedule = simulate(result.simulated.lowered.graph, "simpy")
    assert np.array_equal(schedule.start_ps, result.simulated.schedule.start_ps)
    assert np.array_equal(schedule.end_ps, result.simulated.schedule.end_ps)


def test_the_engine_is_a_choice() -> None:
    """Both answer alike through the front door, too."""
    options = {"batch": 2, "seq_len": 64}
    fast = evaluate("gpt2", "a100-80gb", "roofline-best", **options)  # type: ignore[arg-type]
    slow = evaluate("gpt2", "a100-80gb", "roofline-best", engine="simpy", **options)  # type: ignore[arg-type]
    assert fast.summary() == slow.summary()


def test_conservation_is_checked_in_every_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without asking; in use only on request."""
    checked: list[object] = []
    monkeypatch.setattr("accelsim.evaluation.check_conservation", checked.append)
    evaluate("gpt2", "null", "roofline-best")
    assert len(checked) == 1
    evaluate("gpt2", "null", "roofline-best", check=False)
    assert len(checked) == 1
    monkeypatch.delenv("ACCELSIM_CHECK")
    evaluate("gpt2", "null", "roofline-best")
    assert len(checked) == 1
    evaluate("gpt2", "null", "roofline-best", check=True)
    assert len(checked) == 2


def test_an_override_reaches_its_file() -> None:
    """Fewer layers, a slower clock, another dataflow."""
    base = evaluate("gpt2", "npu-tpuv4i", "npu-only", phase="prefill", batch=1, seq_len=256)
    for path, value in (
        ("model.parameters.num_hidden_layers", 6),
        ("arch.device.units.array.frequency_hz", "500 MHz"),
        ("mapping.dataflow", "is"),
    ):
        changed = evaluate(
            "gpt2", "npu-tpuv4i", "npu-only", phase="prefill", batch=1, seq_len=256,
            overrides={path: value},
        )  # fmt: skip
        assert changed.latency_s != base.latency_s


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch": 0}, "batch: 0 sequences"),
        (
            {"batch": 3, "overrides": {"mapping.partition.microbatches": 2}},
            "3 sequences do not divide into 2",
        ),
        ({"seq_len": -1}, "seq_len|past_len"),
        ({"phase": "decoding"}, "unknown phase `decoding`(.|\n)*did you mean `decode`"),
        ({"overrides": {"hardware.x": 1}}, "must begin with model., arch., mapping."),
        ({"overrides": {"arch.device.units.sm.sms": "-4"}}, "greater than 0"),
        ({"overrides": {"arch.device.units.sm.frequency_hz": "4 GB"}}, "does not fit hz"),
        ({"overrides": {"model.parameters.num_attention_heads": 7}}, "divi"),
    ],
)
def test_bad_input_is_refused_with_its_name(options: dict[str, object], says: str) -> None:
    """Each message says which field and what would be right."""
    with pytest.raises(ConfigError, match=says):
        evaluate("gpt2", "a100-80gb", "roofline-best", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("gpt-2", "a100-80gb", "roofline-best"), "unknown model `gpt-2`(.|\n)*`gpt2`"),
        (("gpt2", "a100", "roofline-best"), "unknown architecture `a100`(.|\n)*`a100-80gb`"),
        (("gpt2", "a100-80gb", "roofline"), "unknown mapping `roofline`(.|\n)*`roofline-best`"),
    ],
)
def test_an_unknown_name_gets_the_nearest(names: tuple[str, str, str], says: str) -> None:
    """For each of the three libraries."""
    with pytest.raises(UnknownNameError, match=says):
        evaluate(*names)


def test_a_model_that_does_not_fit_says_how_much_is_short() -> None:
    """Weights, KV cache and activations apart, and which lever would help."""
    with pytest.raises(InfeasibleError, match=r"short by .*GiB.*weights .*KV cache") as caught:
        evaluate("llama2-70b", "a100-80gb", "roofline-best", batch=1, seq_len=128)
    assert caught.value.needed > 2 * 68.9e9


def test_a_mixed_batch_costs_less_than_its_halves_apart() -> None:
    """Prefill and decode share one reading of the weights (chunked prefill)."""
    prefill, decode, mixed = (
        evaluate("llama3-8b", "a100-80gb", "roofline-best", phase=p, batch=b, seq_len=512)
        for p, b in (("prefill", 1), ("decode", 32), ("mixed", 32))
    )
    assert mixed.tokens == prefill.tokens + decode.tokens
    assert max(prefill.latency_s, decode.latency_s) < mixed.latency_s
    assert mixed.latency_s < prefill.latency_s + decode.latency_s


def test_decode_costs_more_with_a_longer_cache_and_a_larger_batch() -> None:
    """Monotone in both."""
    grid = [
        evaluate("llama3-8b", "a100-80gb", "roofline-best", batch=b, seq_len=s).latency_s
        for b, s in ((1, 128), (1, 4096), (16, 4096))
    ]
    assert grid == sorted(grid)
    assert grid[0] > 2 * 8.03e9 / 2.039e12  # no faster than reading the weights
