"""The roofline of a result: what each operator attains, beneath its unit's peak and its memory.

Everything is read from the result's records, so that a point is never above its roof.
"""

from __future__ import annotations

from pathlib import Path

from accelsim.errors import ConfigError
from accelsim.report._measured_figures import house_style
from accelsim.report._nest_page import check_ending, saved
from accelsim.report._roofline_figure import roofline_figure
from accelsim.report._roofline_points import Peak, Roofline, RooflinePoint
from accelsim.result import GenerationResult, Result

__all__ = ["Peak", "Roofline", "RooflinePoint", "draw_roofline", "roofline"]


def roofline(result: Result | GenerationResult) -> Roofline:
    """Return the points and roofs of a result.

    Parameters
    ----------
    result : Result
        Of one pass.

    Raises
    ------
    ConfigError
        If it is a whole generation, whose passes have rooflines of their own; names its stages.

    Notes
    -----
    The peak of a unit is an operator's operations over its ideal time, that of the unit at its
    peak rate; multiply-accumulates by format, and of elementwise operations the highest.
    """
    if isinstance(result, GenerationResult):
        raise ConfigError(
            f"a roofline is of one pass, this is a generation of {len(result.stages)} stages",
            hint="take the `result` of one: " + ", ".join(one.name for one in result.stages),
        )
    device = result.simulated.lowered.plan.architecture.device
    points: list[RooflinePoint] = []
    peaks: dict[tuple[str, bool, str], float] = {}
    idle, idle_s = 0, 0.0
    for record, step in zip(result.operators, result.simulated.lowered.steps, strict=True):
        operations = 2 * record.macs or step.counts.vector_ops
        time_s = max(record.compute_s, record.memory_s)
        if record.unit not in device.units or not operations or not time_s:
            idle, idle_s = idle + 1, idle_s + record.critical_s
            continue
        points.append(
            RooflinePoint(
                record.block, record.name, record.kind, record.unit,
                device.units[record.unit].memory, operations, record.traffic_bytes, time_s,
                record.critical_s / result.latency_s,
            )
        )  # fmt: skip
        if step.estimate.ideal_ps > 0:
            key = record.unit, not record.macs, step.work.dtype if record.macs else ""
            peak = operations / step.estimate.ideal_ps * 1e12
            peaks[key] = max(peaks.get(key, 0.0), peak)
    found = [
        Peak(unit, device.units[unit].memory, elementwise, dtype, rate)
        for (unit, elementwise, dtype), rate in peaks.items()
    ]
    used = {point.memory: None for point in points}
    return Roofline(
        _title(result), tuple(points), tuple(sorted(found, key=lambda peak: -peak.ops_per_s)),
        {name: device.memories[name].peak_bandwidth() for name in used},
        idle_s / result.latency_s if result.latency_s else 0.0, idle,
    )  # fmt: skip


def _title(result: Result) -> str:
    point = result.point
    where = f"{point['model']} on {point['arch']} by {point['mapping']}"
    if point["phase"] == "forward":
        return f"{where}, forward, batch {point['batch']}"
    return f"{where}, {point['phase']}, batch {point['batch']}, {point['seq_len']} tokens"


def draw_roofline(result: Result | GenerationResult, file: Path, *, title: str = "") -> Path:
    """Draw what each operator of a pass attains, against operations per byte of its traffic.

    Parameters
    ----------
    result : Result
        Of one pass.
    file : Path
        Where to: a PNG, SVG or PDF by its ending.
    title : str
        What stands above; the point unless given.

    Raises
    ------
    ConfigError
        If the file's ending is none of these, the result is of a whole generation, or no operator
        computes anything.

    Notes
    -----
    The area of a mark is the operator's part of the latency; colour and shape its class.
    Operators without traffic stand at the right, where only the peak is a bound.
    """
    check_ending(file)
    found = roofline(result)
    if not found.points:
        raise ConfigError("no operator computes anything that a roofline could show")
    with house_style():
        return saved(roofline_figure(found, title or found.title), file)
