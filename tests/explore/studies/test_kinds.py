"""Studies of any kind: how files are read, and what becomes of points without a result."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.config import library
from accelsim.errors import ConfigError, InfeasibleError, MappingError, UnknownNameError
from accelsim.explore.studies import attempt, load_study, study_rows

SHIPPED = "papers/components/studies"

# Study, what stands in its file, what is written instead, what is said of that.
MISTAKES = [
    ("timeloop", "kind: nests", "kind: nest", "unknown kind of study `nest`"),
    ("timeloop", "kind: nests\n", "", "a study needs a `kind`"),
    ("timeloop", "accounting: timeloop\n    given:\n      DRAM: {p: 8",
     "acounting: timeloop\n    given:\n      DRAM: {p: 8", "did you mean `accounting`"),
    ("timeloop", "dtype: int8, operators: [first-layer]", "dtype: int8, operators: [first]",
     "no operator `first`; did you mean `first-layer`"),
    ("timeloop", "arch: timeloop-eyeriss-like,", "arch: timeloop-eyeriss,",
     "unknown architecture `timeloop-eyeriss`"),
    ("timeloop", "{conv: {out", "{product: [1, 2, 3], conv: {out", "exactly one of `product`"),
    ("accelforge", "least-latency: {objective: latency, accounting: accelforge}",
     "least-latency: npu-onli", "did you mean `npu-only`"),
    ("zigzag", "model: resnet18,", "model: resnet81,", "unknown model `resnet81`"),
    ("zigzag", "orders: [eight]", "orders: [nine]", "no set of orders `nine`; Legal: eight"),
    ("zigzag", "{loops: 6}", "{loops: 0}", "greater than 0"),
    ("cosma", "[auto, ", "[automatic, ", "no method `automatic`; "),
    ("cosma", "sizes: [largest_operator", "sizes: [largest", "did you mean `largest_operator`"),
    ("two-pass-softmax", "{model: softmax-2-pass", "{modell: softmax-2-pass",
     "did you mean `model`"),
]  # fmt: skip


def shipped(name: str) -> str:
    return library.find("sweeps", f"{SHIPPED}/{name}").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "old", "new", "said"), MISTAKES)
def test_a_mistake_is_told_with_its_line(
    tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    """And with what is legal there."""
    text = shipped(name)
    assert old in text
    file = tmp_path / "study.yaml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_study(file)
    line = str(caught.value).partition(f"{file}:")[2].partition(":")[0]
    before = text[: text.index(old)]
    assert int(line) == 1 + before.count("\n")
    assert said in str(caught.value)


def test_an_unknown_kind_names_the_known_ones(tmp_path: Path) -> None:
    """At the line of ``kind``."""
    file = tmp_path / "study.yaml"
    file.write_text("name: x\nkind: nesst\nsource: y\n", encoding="utf-8")
    with pytest.raises(UnknownNameError, match="did you mean `nests`") as caught:
        load_study(file)
    assert "study.yaml:2" in str(caught.value)


def test_a_file_that_is_missing_is_named() -> None:
    """By the path that was asked for."""
    with pytest.raises(ConfigError, match="no such file"):
        load_study("papers/components/studies/none")


@pytest.mark.parametrize(
    ("raised", "status"),
    [(InfeasibleError("buffer", 2, 1, "bytes"), "infeasible"), (MappingError("buffer"), "failed")],
)
def test_a_point_without_a_result_says_why(raised: Exception, status: str) -> None:
    """As a sweep's row does; other errors end the study."""

    def evaluate() -> dict[str, float]:
        raise raised

    row = attempt({"arch": "a"}, evaluate)
    assert (row["arch"], row["status"]) == ("a", status)
    assert "buffer" in row["error"]
    with pytest.raises(ZeroDivisionError):
        attempt({}, lambda: {"x": 1 / 0})


def test_rows_are_a_table_with_the_name_of_the_study() -> None:
    """One column for each axis and metric."""
    rows = study_rows(load_study(f"{SHIPPED}/two-pass-softmax"))
    assert list(rows["sweep"]) == ["two-pass-softmax"] * 3
    assert list(rows["words_per_element"]) == [4.0, 5.0, 3.0]
