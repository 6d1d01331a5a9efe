"""Lengths of requests: draws have the published moments, what is given is taken as it is."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import ConfigError
from accelsim.workload import load_model, phase_of, read_request
from accelsim.workload.generation import generation
from accelsim.workload.lengths import Lengths, cached_lengths, grouped, prompt_lengths
from accelsim.workload.phase import Phase
from tests.reference import reference_file

SHAREGPT = {
    "input_mean": 80.29, "input_median": 17, "output_mean": 294.99, "output_median": 261,
}  # fmt: skip
MANY = 20_000


def phase(kind: str = "decode", batch: int = 4, seq_len: int = 7, **lengths: Any) -> Phase:
    changes = {f"lengths.{name}": value for name, value in lengths.items()}
    return phase_of(load_model("gpt2"), kind, batch, seq_len, read_request(changes))


def test_prompts_have_the_mean_and_the_median_that_they_are_drawn_from() -> None:
    found = prompt_lengths(Lengths(input_mean=80.29, input_median=17), MANY)
    assert median(found) == pytest.approx(17, abs=1)
    assert fmean(found) == pytest.approx(80.29, rel=0.1)


def test_a_request_is_met_in_proportion_to_its_answer() -> None:
    """The mean is that of the input, and half the second moment of the answer over its first."""
    found = cached_lengths(Lengths(**SHAREGPT), MANY)
    second_over_first = 294.99 * (294.99 / 261) ** 2
    assert fmean(found) == pytest.approx(80.29 + second_over_first / 2, rel=0.03)


def test_answers_without_a_median_are_alike_and_uniformly_far() -> None:
    found = cached_lengths(Lengths(input_mean=100, output_mean=50), MANY)
    assert (min(found), max(found)) == (100, 150)
    assert fmean(found) == pytest.approx(125, rel=0.01)


def test_a_draw_is_its_seed_and_a_smaller_batch_its_beginning() -> None:
    asked = Lengths(**SHAREGPT, seed=3)
    assert cached_lengths(asked, 64) == cached_lengths(asked, 64)
    assert cached_lengths(asked, 16) == cached_lengths(asked, 64)[:16]
    assert cached_lengths(Lengths(**SHAREGPT, seed=4), 64) != cached_lengths(asked, 64)


@settings(max_examples=50)
@given(
    st.integers(1, 64), st.integers(1, 100), st.integers(1, 4096), st.integers(0, 1000)
)  # fmt: skip
def test_lengths_are_cut_rounded_and_never_none(
    batch: int, bucket: int, longest: int, seed: int
) -> None:
    asked = Lengths(**SHAREGPT, bucket=bucket, longest=longest, seed=seed)
    found = cached_lengths(asked, batch)
    assert len(found) == batch
    assert all(n >= 1 and (n % bucket == 0 or n == 1) for n in found)
    assert max(found) <= longest + bucket / 2


def test_buckets_keep_the_mean() -> None:
    fine, coarse = (cached_lengths(Lengths(**SHAREGPT, bucket=b), 2000) for b in (1, 16))
    assert fmean(coarse) == pytest.approx(fmean(fine), abs=1)
    assert len(grouped(coarse)) < len(grouped(fine)) / 4


def test_padding_makes_all_as_long_as_the_longest() -> None:
    free = cached_lengths(Lengths(**SHAREGPT), 32)
    assert cached_lengths(Lengths(**SHAREGPT, padded=True), 32) == [max(free)] * 32


def test_the_draw_is_like_the_snapshot_that_the_authors_ship() -> None:
    """Drawn from published moments alone: quartiles of a shipped batch within its noise."""
    requests = reference_file("pim_golden_requests.csv").read_text(encoding="utf-8")
    rows = [line.split(",") for line in requests.splitlines() if line[:1] != "#"]
    theirs = sorted(int(row[2]) for row in rows if row[0] == "neupims_clb256")
    ours = sorted(cached_lengths(Lengths(**SHAREGPT, longest=2048), MANY))
    assert len(theirs) == 256
    for part in (0.25, 0.5, 0.75):
        drawn, shipped = ours[int(part * MANY)], theirs[int(part * 256)]
        assert math.log(drawn / shipped) == pytest.approx(0, abs=math.log(1.35)), part


def test_listed_lengths_are_groups_in_order_of_arrival() -> None:
    assert str(phase(listed="2x128 64,1024")) == "decode 2x1 past 128, 1x1 past 64, 1x1 past 1024"
    assert Lengths(listed=[5, 6]).listed == (5, 6)


def test_a_file_gives_its_column(tmp_path: Path) -> None:
    file = tmp_path / "requests.csv"
    file.write_text("# a remark\nseq_len,channel\n300,1\n20,0\n300,2\n7,3\n9,4\n")
    assert str(phase(file=str(file))) == "decode 2x1 past 300, 1x1 past 20, 1x1 past 7"


def test_each_phase_takes_its_own_lengths() -> None:
    assert str(phase("prefill", 2, listed="100 200")) == "prefill 1x100, 1x200"
    assert str(phase("mixed", 2, listed="100 200")) == "mixed 1x7, 1x1 past 100, 1x1 past 200"
    assert phase("prefill", 3, input_mean=40).tokens == 120


@pytest.mark.parametrize(
    ("lengths", "field", "says"),
    [
        ({"seed": 1}, "workload.lengths", "either listed"),
        ({"listed": "1 2 3 4", "input_mean": 5}, "workload.lengths", "listed and input_mean"),
        ({"input_mean": 5}, "workload.lengths.output_mean", "by their answers"),
        ({"output_mean": 5}, "workload.lengths.input_mean", "need it"),
        ({"input_mean": 5, "output_mean": 5, "output_median": 6}, "output_median", "above"),
        ({"listed": "3x10"}, "workload.lengths.listed", "3 lengths for a batch of 4"),
        ({"listed": "3y10"}, "lengths.listed", "`3y10` is no length"),
        ({"file": "none.csv"}, "workload.lengths.file", "cannot read"),
        ({"input_mean": 5, "output_mean": 5, "seed": -1}, "lengths.seed", "at least 0"),
    ],
)
def test_bad_lengths_are_named(lengths: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        phase(**lengths)
    assert field in str(caught.value)
    assert says in str(caught.value)


def test_a_bad_row_of_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "requests.csv"
    file.write_text("seq_len\n5\nx\n")
    with pytest.raises(ConfigError, match=r"requests\.csv:3: .*`x` is no length"):
        phase(file=str(file))
    file.write_text("length\n5\n")
    with pytest.raises(ConfigError, match="no column `seq_len`"):
        phase(file=str(file))


def test_what_takes_one_length_refuses_several() -> None:
    with pytest.raises(ConfigError, match="one length"):
        phase("forward", 2, listed="1 2")
    with pytest.raises(ConfigError, match="alike"):
        generation("gpt2", request=read_request({"lengths.listed": "1 2"}))
