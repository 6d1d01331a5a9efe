"""What evaluating a whole generation answers: the results of its stages, each so many times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accelsim.result.result import Result

__all__ = ["GenerationResult", "StageResult"]


@dataclass(frozen=True, eq=False)
class StageResult:
    """One stage of a generation.

    Attributes
    ----------
    name : str
        What the stage does.
    times : int
        How often it runs.
    result : Result
        One run.
    """

    name: str
    times: int
    result: Result

    @property
    def latency_s(self) -> float:
        """Time of all its runs."""
        return self.times * self.result.latency_s

    @property
    def energy_j(self) -> float:
        """Energy of all its runs."""
        return self.times * self.result.energy_j


@dataclass(frozen=True, eq=False)
class GenerationResult:
    """An evaluated generation; stages run one after the other.

    Attributes
    ----------
    point : dict
        Model, architecture, mapping, phase ``generate``, batch, seq_len and overrides.
    stages : tuple of StageResult
        In order.
    outputs : int
        Tokens, images or videos that come of it.
    """

    point: dict[str, Any]
    stages: tuple[StageResult, ...]
    outputs: int

    @property
    def latency_s(self) -> float:
        """Time of the whole generation."""
        return sum(stage.latency_s for stage in self.stages)

    @property
    def energy_j(self) -> float:
        """Energy of the whole generation over all devices."""
        return sum(stage.energy_j for stage in self.stages)

    @property
    def ttft_s(self) -> float:
        """Time to the first token: that of the prefill; 0 where there is none."""
        return sum(s.latency_s for s in self.stages if s.name.startswith("prefill"))

    @property
    def tpot_s(self) -> float:
        """Mean time per output token after the first; 0 where no tokens are made."""
        steps = [s for s in self.stages if s.name.startswith("decode")]
        times = sum(stage.times for stage in steps)
        return sum(stage.latency_s for stage in steps) / times if times else 0.0

    def summary(self) -> dict[str, float | int | str]:
        """Return the main figures as one flat row, of the same names as those of a pass."""
        latency_s, energy_j = self.latency_s, self.energy_j
        results = [stage.result for stage in self.stages]
        longest = max(self.stages, key=lambda stage: stage.latency_s)
        ideal_s = sum(stage.latency_s * stage.result.utilisation for stage in self.stages)
        return {
            "latency_s": latency_s,
            "energy_j": energy_j,
            "energy_per_token_j": energy_j / self.outputs,
            "power_w": energy_j / latency_s if latency_s else 0.0,
            "area_mm2": max(result.area_mm2 for result in results),
            "throughput_tokens_per_s": self.outputs / latency_s if latency_s else 0.0,
            "utilisation": ideal_s / latency_s if latency_s else 0.0,
            "bottleneck": f"{longest.name}: {longest.result.bottleneck}",
            "memory_bytes": max(result.memory.total_bytes for result in results),
            "devices": max(int(result.summary()["devices"]) for result in results),
            "tasks": sum(result.simulated.lowered.graph.n_tasks for result in results),
            "ttft_s": self.ttft_s,
            "tpot_s": self.tpot_s,
        }

    def breakdown(self) -> dict[str, Any]:
        """Return every stage's times, latency, energy and own breakdown, ready for JSON."""
        return {
            "stages": [
                {
                    "name": stage.name,
                    "times": stage.times,
                    "latency_s": stage.result.latency_s,
                    "energy_j": stage.result.energy_j,
                    **stage.result.breakdown(),
                }
                for stage in self.stages
            ]
        }
