"""What every shipped design answers for a small and a larger model: the replay's points.

``python -m tests.golden.replay`` rewrites the recorded answers; only do so for a change that is
meant to change them, and say so in the change log.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelsim.arch import load
from accelsim.config import library
from accelsim.errors import InfeasibleError, MappingError
from accelsim.evaluation import evaluate

RECORD = Path(__file__).with_name("replay.json")
ONE_GPU = "a100-80gb"
MODELS = ("gpt2", "llama2-7b", "mixtral-8x7b")
SPATIAL = (("resnet18", "nvdla-large", "nests-nvdla", "forward"),)
INT8 = {"model.dtypes.weight": "int8", "model.dtypes.activation": "int8"}
FIGURES = ("latency_s", "energy_j", "area_mm2", "utilisation", "memory_bytes")

Answer = dict[str, float] | str


def designs() -> list[tuple[str, str]]:
    """Return architecture and mapping of every design: of GPUs, one with all mappings.

    The others have the same units, and a mapping for memory that computes finds none in them.
    Spatial arrays run no models in half precision, and a mapping of loop nests only its own chip:
    see `SPATIAL`.
    """
    families = {name: load(name).family for name in library.names("arch")}
    return [
        (name, mapping)
        for name, family in families.items()
        for mapping in library.names("mapping")
        if (family != "gpu" or name == ONE_GPU or mapping == "roofline-best")
        and family != "spatial" and not mapping.startswith("nests-")
    ]  # fmt: skip


def points() -> list[tuple[str, str, str, str]]:
    """Return model, architecture, mapping and phase of every point."""
    return [
        *(
            (model, arch, mapping, phase)
            for arch, mapping in designs()
            for model in MODELS
            for phase in ("prefill", "decode")
        ),
        *SPATIAL,
    ]


def answer(point: tuple[str, str, str, str]) -> Answer:
    """Return the figures of a point, or the kind of its refusal."""
    model, arch, mapping, phase = point
    batch, overrides = (1, INT8) if point in SPATIAL else (4, None)
    try:
        result = evaluate(
            model, arch, mapping, phase=phase, batch=batch, seq_len=512, overrides=overrides
        )
    except (InfeasibleError, MappingError) as error:
        return type(error).__name__
    summary: dict[str, Any] = result.summary()
    return {name: summary[name] for name in FIGURES}


def main() -> None:
    """Record the answers of all points."""
    record = {"/".join(point): answer(point) for point in points()}
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
