"""Writes a schedule as a Chrome trace, which ui.perfetto.dev opens."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from accelsim.lower import KIND_NAMES
from accelsim.result.result import Result

__all__ = ["write_events", "write_trace"]


def write_trace(result: Result, path: Path) -> int:
    """Write the timeline of a result and return its number of slices.

    Parameters
    ----------
    result : Result
        An evaluated point.
    path : Path
        ``.json``, or ``.json.gz`` for a compressed file.

    Notes
    -----
    A process is a device (pipeline stage), a thread a resource; times are microseconds, as the
    format demands, with picosecond fractions.  Repetitions that were extended rather than
    simulated are not drawn; ``otherData`` says how many and how long each is.
    """
    slices = list(_slices(result))
    simulated = result.simulated
    other = {
        "point": json.dumps(result.point, default=str),
        "latency_us": simulated.latency_ps / 1e6,
        "not drawn": "; ".join(
            f"{n} more repetitions of {block.name}, {period / 1e6} us each"
            for n, period, block in zip(
                simulated.skipped, simulated.period_ps, simulated.lowered.plan.blocks, strict=True
            )
            if n
        ),
    }
    write_events([*_names(result), *slices], path, other)
    return len(slices)


def write_events(
    events: Sequence[str], path: Path, other: Mapping[str, object] | None = None
) -> None:
    """Write a Chrome trace, whole or not at all.

    Parameters
    ----------
    events : sequence of str
        JSON of each event.
    path : Path
        ``.json``, or ``.json.gz`` for a compressed file; its folder is made.
    other : mapping, optional
        What else is to be known (``otherData``).
    """
    about = f'"otherData":{json.dumps(other)},' if other else ""
    text = f'{{"displayTimeUnit":"ns",{about}"traceEvents":[\n' + ",\n".join(events) + "\n]}\n"
    data = text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    partial.replace(path)


def _places(result: Result) -> list[tuple[int, int, str, str]]:
    """Return process, thread, device name and resource name of every resource."""
    names = result.simulated.lowered.graph.resource_names
    places = []
    for i, name in enumerate(names):
        device, _, resource = name.rpartition(": ")
        process = int(device.split()[-1]) if device else 0
        places.append((process, i, device or "device", resource))
    return places


def _names(result: Result) -> Iterator[str]:
    for process, thread, device, resource in _places(result):
        for kind, name in (("process_name", device), ("thread_name", resource)):
            yield json.dumps(
                {"ph": "M", "pid": process, "tid": thread, "name": kind, "args": {"name": name}}
            )


def _slices(result: Result) -> Iterator[str]:
    lowered, schedule = result.simulated.lowered, result.simulated.schedule
    graph, places = lowered.graph, _places(result)
    labels = [
        json.dumps(f"{lowered.plan.blocks[b].name}.{step.operator.name}")
        for step, b in zip(lowered.steps, lowered.step_block, strict=True)
    ]
    columns = zip(
        schedule.start_ps.tolist(), schedule.end_ps.tolist(), graph.resource.tolist(),
        graph.owner.tolist(), lowered.kind.tolist(), lowered.instance.tolist(),
        graph.size_bytes.tolist(), strict=True,
    )  # fmt: skip
    for start, end, resource, owner, kind, instance, size in columns:
        process, thread, _, _ = places[resource]
        name = labels[owner] if owner >= 0 else '"send"'
        yield (
            f'{{"ph":"X","pid":{process},"tid":{thread},"ts":{start / 1e6:.6f},'
            f'"dur":{(end - start) / 1e6:.6f},"name":{name},"cat":"{KIND_NAMES[kind]}",'
            f'"args":{{"repetition":{instance},"bytes":{size}}}}}'
        )
