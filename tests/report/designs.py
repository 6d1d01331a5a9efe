"""Made-up results of sweeps, enough of them to draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from accelsim.explore import SweepSpec


def sweep_of(**changes: Any) -> SweepSpec:
    """Return what figures and tables read of a sweep: name, objectives and groups."""
    fields = {
        "name": "test", "description": "A test.", "space": {}, "cases": (), "where": (),
        "objectives": {"latency_s": "min", "energy_j": "min"},
        "front_per": ("model", "phase", "seq_len"), "output": None, "source": None,
    }  # fmt: skip
    return SweepSpec.model_construct(**{**fields, **changes})


def designs(models: int = 2, archs: int = 3, each: int = 8) -> pd.DataFrame:
    """Return rows as `accelsim.explore.to_frame` does; the last one failed."""
    random = np.random.default_rng(models * 100 + archs)
    rows = [
        {
            "model": f"model-{m}", "arch": f"arch-{a}", "mapping": "one", "phase": "decode",
            "batch": 2**i, "seq_len": 1024, "status": "done",
            "latency_s": 1e-3 * (m + 1) * 2**i * random.uniform(1, 3),
            "energy_j": 10.0 * (a + 1) / 2 ** (i / 2) * random.uniform(1, 3),
            "power_w": 100.0, "area_mm2": 300.0 + 50 * a + i, "utilisation": 0.5,
            "throughput_tokens_per_s": 1e3 * random.uniform(1, 2), "error": "", "wall_s": 0.1,
        }
        for m in range(models) for a in range(archs) for i in range(each)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    frame.loc[len(frame)] = {**rows[-1], "status": "failed", "latency_s": np.nan, "error": "no"}
    return frame
