"""The sweep file: what it accepts, and that every mistake is found at its line."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from accelsim.errors import ConfigError
from accelsim.explore import SweepSpec, load_sweep, points
from accelsim.explore.space import DEFAULTS

GOOD = """\
name: demo
description: A demonstration.
space:
  model: tiny-gpt
  phase: [prefill, decode]
  batch: {from: 1, to: 8, factor: 2}
cases:
  - {arch: small-gpu, mapping: on-gpu}
  - arch: small-pim
    mapping: on-pim
    arch.technology_nm: {from: 2, to: 6, step: 2}
where:
  - {require: batch * arch.technology_nm <= 32, reason: power}
objectives: {latency_s: min, throughput_tokens_per_s: max}
"""


def load(folder: Path, text: str) -> SweepSpec:
    path = folder / "demo.yaml"
    path.write_text(text, encoding="utf-8")
    return load_sweep(path)


def test_a_good_file_is_read(library: Path) -> None:
    """Values, lists, both kinds of range and cases become tuples of values."""
    spec = load(library, GOOD)
    assert spec.space["batch"] == (1, 2, 4, 8)
    assert spec.cases[1]["arch.technology_nm"] == (2, 4, 6)
    assert spec.front_per == ("model", "phase", "seq_len")
    assert spec.folder == Path("reports/demo")


def test_a_sweep_is_found_by_name(library: Path) -> None:
    """The library folder `sweeps` registers a sweep by its file name."""
    (library / "sweeps").mkdir()
    (library / "sweeps" / "demo.yaml").write_text(GOOD, encoding="utf-8")
    assert load_sweep("demo").name == "demo"


def test_a_sweep_may_extend_another(library: Path) -> None:
    """`extends` takes another sweep's fields as defaults."""
    (library / "sweeps").mkdir()
    (library / "sweeps" / "demo.yaml").write_text(GOOD, encoding="utf-8")
    spec = load(library, "extends: demo\nname: more\nspace: {batch: 16}\n")
    assert spec.space["batch"] == (16,)
    assert spec.space["phase"] == ("prefill", "decode")


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("tiny-gpt", "tiny-gtp", 4, "unknown model `tiny-gtp`; did you mean `tiny-gpt`?"),
        ("arch: small-pim", "arch: smal-pim", 9, "did you mean `small-pim`?"),
        ("mapping: on-gpu", "mapping: on-gp", 8, "did you mean `on-gpu`?"),
        ("{from: 1, to: 8, factor: 2}", "0", 6, "greater than 0"),
        ("{from: 1, to: 8, factor: 2}", "[1, 2, 0]", 6, "greater than 0"),
        ("{from: 1, to: 8, factor: 2}", "1.5", 6, "not a whole number"),
        ("{from: 1, to: 8, factor: 2}", "[]", 6, "has no values"),
        ("{from: 1, to: 8, factor: 2}", "[1, 2, 1]", 6, "`1` stands twice"),
        ("{from: 1, to: 8, factor: 2}", "{from: 1, to: 8}", 6, "either `step` or `factor`"),
        ("{from: 1, to: 8, factor: 2}", "{from: 9, to: 8, step: 1}", 6, "range is empty"),
        ("{from: 1, to: 8, factor: 2}", "{from: 1, to: 8, factor: 1}", 6, "greater than 1"),
        ("{from: 1, to: 8, factor: 2}", "{from: 1, too: 8, step: 1}", 6, "unknown key `too`"),
        ("{from: 1, to: 8, factor: 2}", "{from: 1, to: 1e9, step: 1}", 6, "more than 1,000,000"),
        ("  batch: {", "  bacth: {", 6, "unknown axis `bacth`; did you mean `batch`?"),
        (
            "phase: [prefill",
            "phase: [prefil",
            5,
            "unknown phase `prefil`; did you mean `prefill`?",
        ),
        (
            "    arch.tech",
            "    arch.tecnology_nm: 5\n    arch.tech",
            11,
            "did you mean `technology_nm`?",
        ),
        (
            "    arch.tech",
            "    arch.device.unitz.a.b: 5\n    arch.tech",
            11,
            "unknown key `unitz`",
        ),
        ("from: 2, to: 6, step: 2}", "from: 0, to: 6, step: 2}", 11, "greater than 0"),
        ("latency_s", "latency_ms", 14, "did you mean `latency_s`?"),
        (": min,", ": smallest,", 14, "found `smallest`"),
        ("batch * arch", "bacth * arch", 13, "unknown axis `bacth`"),
        ("batch * arch", "batch ** ** arch", 13, "is not an expression"),
        ("batch * arch.technology_nm", "phase", 13, "`phase <= 32`"),
        ("    mapping: on-pim\n", "", 9, "no axis `mapping`"),
        ("objectives: {latency_s: min, ", "objectives: {", 14, "at least 2 items"),
        ("name: demo", "name: ../demo", 1, "match pattern"),
        ("where:", "front_per: [modell]\nwhere:", 12, "unknown axis `modell`"),
        ("  phase: [prefill, decode]", "  phase: [prefill, [decode]]", 5, "a name is needed"),
    ],
)
def test_a_mistake_is_found_at_its_line(
    library: Path, old: str, new: str, line: int, message: str
) -> None:
    """Each mistake is one error with file, line and what would be right."""
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load(library, GOOD.replace(old, new, 1))
    assert message in str(caught.value)
    assert f"demo.yaml:{line}" in str(caught.value)


def test_mistakes_of_form_are_reported_together(library: Path) -> None:
    """An empty range and a sense that does not exist appear in one error."""
    with pytest.raises(ConfigError) as caught:
        load(library, GOOD.replace("to: 8", "to: 0").replace(": min", ": least"))
    assert "the range is empty" in str(caught.value)
    assert "`least`" in str(caught.value)


def test_mistakes_of_meaning_are_reported_together(library: Path) -> None:
    """An unknown model, metric and axis appear in one error."""
    text = GOOD.replace("tiny-gpt", "none").replace("latency_s", "speed")
    with pytest.raises(ConfigError) as caught:
        load(library, text.replace("require: batch", "require: bunch"))
    for name in ("none", "speed", "bunch"):
        assert f"`{name}`" in str(caught.value)


def test_a_mistake_writes_nothing(library: Path) -> None:
    """A sweep with an unknown name leaves no folder behind."""
    with pytest.raises(ConfigError):
        load(library, GOOD.replace("tiny-gpt", "none"))
    assert not (library / "reports").exists()


def test_ranges_include_their_end_despite_rounding(library: Path) -> None:
    """0.1 to 0.7 by 0.1 has seven values without rounding noise."""
    text = GOOD.replace("{from: 2, to: 6, step: 2}", "{from: 0.1, to: 0.7, step: 0.1}")
    spec = load(library, text)
    assert spec.cases[1]["arch.technology_nm"] == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    assert {type(point.batch) for point in points(spec)} == {int}


def test_an_excluded_corner_need_not_be_legal(library: Path) -> None:
    """Values that only excluded points combine may be illegal together."""
    text = GOOD.replace("from: 2, to: 6", "from: 0, to: 6")
    text = text.replace("batch * arch.technology_nm <= 32", "arch.technology_nm > 0")
    assert load(library, text).cases[1]["arch.technology_nm"] == (0, 2, 4, 6)


def test_defaults_are_those_of_evaluate() -> None:
    """What a sweep leaves out means what `accelsim.evaluate` takes it to mean."""
    from accelsim.evaluation import evaluate

    signature = inspect.signature(evaluate).parameters
    assert {name: (signature[name].default,) for name in DEFAULTS} == DEFAULTS
