"""InstInfer's published speed-ups come out of flash, engine and paths, without a fit."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from accelsim.explore.papers import Figure, load_paper
from accelsim.explore.published import answer, reproduce

SPEED_UPS = {
    "throughput over FlexGen, OPT-13B, batch 64, one drive",
    "throughput over FlexGen, OPT-13B, batch 64, two drives",
    "throughput over FlexGen, OPT-30B, batch 64, one drive",
    "throughput over FlexGen, Llama-2-13B, batch 64, one drive",
    "SparF over dense, OPT-13B, batch 256",
    "SparF over FlexGen, OPT-13B, best",
}


def test_speed_ups_are_near_the_published_ones(tmp_path: Path) -> None:
    """Within 15 % in the mean, none off by more than 30 %, and in the paper's order."""
    done = reproduce(load_paper("instinfer"), tmp_path, jobs=1, quiet=True)
    assert set(done.counts) == {"done"}
    assert all(found.ours is not None for found in done.answers)
    chosen = [found for found in done.answers if found.figure.name in SPEED_UPS]
    assert len(chosen) == len(SPEED_UPS)
    ratios = [found.ratio or 0.0 for found in chosen]
    assert sum(ratios) / len(ratios) == pytest.approx(1.0, abs=0.15)
    assert all(abs(ratio - 1) < 0.3 for ratio in ratios)
    over = [found for found in chosen if "FlexGen" in found.figure.name]
    ranked = sorted(over, key=lambda found: found.figure.published)
    ours = [found.ours[0] for found in ranked if found.ours is not None]
    # The three dense figures on one drive are one and the same ratio of rates in ours.
    assert max(ours[:3]) < 1.02 * min(ours[:3])
    assert ours[2] < ours[3] < ours[4]


def test_a_technique_may_have_a_variant_of_the_model() -> None:
    """Where no model is on both sides, it is the model that tells them apart."""
    rows = pd.DataFrame(
        [
            {
                "model": model, "arch": "a", "mapping": "p", "phase": "decode", "batch": batch,
                "seq_len": 1, "status": "done", "latency_s": latency, "error": "",
            }
            for model, batch, latency in (
                ("plain", 1, 4.0), ("plain", 2, 6.0), ("sparse", 1, 2.0), ("sparse", 2, 2.0),
            )
        ]
    )  # fmt: skip
    figure = Figure.model_validate(
        {
            "name": "f", "published": 1, "source": "-", "metric": "latency_s", "tier": "shape",
            "why": "-", "of": {"model": "plain"}, "over": {"model": "sparse"},
        }
    )  # fmt: skip
    found = answer(figure, rows)
    assert found.ours == (2.5, 2.5)
    assert found.points == 2
