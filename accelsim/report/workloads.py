"""Compares what workloads alone can show with what publications print, as Markdown pages.

Counts need no hardware; where a technique's saving of time is shown, it is simulated and stands
apart from its saving of FLOPs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

from accelsim._version import __version__
from accelsim.report._published import (
    DIFFUSION,
    KV_BYTES,
    STEP3,
    TECHNIQUES,
    TRAINING,
    Technique,
)
from accelsim.workload import (
    Extent,
    decode,
    flop_split,
    forward,
    generation,
    generation_totals,
    load_model,
    workload,
)
from accelsim.workload.families.unet import stage_lengths
from accelsim.workload.published import decoding_cost, training_flops
from accelsim.workload.stages import Generation

__all__ = ["write_workloads"]

_ARCH: Final = "a100-80gb"
_MAPPING: Final = "roofline-best"
_COMMAND: Final = "accelsim validate workloads"


class _Line(NamedTuple):
    """One published figure beside ours."""

    what: str
    published: float
    ours: float
    note: str = ""


def write_workloads(output: Path) -> list[Path]:
    """Write the pages; return their paths.

    Parameters
    ----------
    output : Path
        Folder of the pages; made if need be.
    """
    output.mkdir(parents=True, exist_ok=True)
    pages = {
        "language-models.md": ("Language models: bytes and FLOPs per token", _language()),
        "diffusion.md": ("Diffusion: FLOPs of one image or video", _diffusion()),
        "techniques.md": ("Techniques: FLOPs saved, and time saved", _techniques()),
    }
    written = []
    for name, (title, lines) in pages.items():
        path = output / name
        text = "\n".join([f"# {title}", "", _made(), "", *lines]) + "\n"
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def _made() -> str:
    return (
        f"accelsim {__version__}, {date.today().isoformat()}; regenerate with `{_COMMAND}`."
        " 1 MAC is 2 FLOPs."
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---' if i == 0 else '---:' for i in range(len(heads)))} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _compared(lines: Sequence[_Line], unit: str) -> Iterator[str]:
    rows = [
        [
            line.what, f"{line.published:.6g}", f"{line.ours:.6g}",
            f"{100 * (line.ours / line.published - 1):+.2f} %", line.note,
        ]
        for line in lines
    ]  # fmt: skip
    yield from _table(("", f"published, {unit}", f"accelsim, {unit}", "difference", "note"), rows)


def _language() -> Iterator[str]:
    yield "## KV cache per token, BF16 (arXiv 2505.09343, table 1)\n"
    lines = [
        _Line(name, kilobytes, workload(name, decode(1, 1)).kv_bytes_per_token / 1000)
        for name, kilobytes in KV_BYTES.items()
    ]
    yield from _compared(lines, "kB")
    yield "## One decoded token (Step-3, arXiv 2507.19427, tables 2 and 3)\n"
    yield (
        "KV cache at one byte per element; router and output head left out. Each cell is"
        " published / accelsim.\n"
    )
    heads = ("model", "KV 8K", "KV 32K", "attention 8K", "attention 32K", "linear", "FFN")
    yield from _table((*heads, "note"), [_step3(name) for name in STEP3])
    yield "## One token of training, sequences of 4096 (arXiv 2505.09343, table 2)\n"
    yield "Three forward passes, causal attention, logits of every token.\n"
    trained = [
        _Line(name, gflop, training_flops(name, 4096) / 1e9, note)
        for name, (gflop, note) in TRAINING.items()
    ]
    yield from _compared(trained, "GFLOP")


def _step3(name: str) -> list[str]:
    published, note = STEP3[name]
    short, long = decoding_cost(name, 8192), decoding_cost(name, 32768)
    ours = (
        short.kv_bytes, long.kv_bytes, short.attention_flops, long.attention_flops,
        short.linear_flops, short.ffn_flops,
    )  # fmt: skip
    cells = [f"{p:.3g} / {o:.3g}" for p, o in zip(published, ours, strict=True)]
    return [name, *cells, note]


def _diffusion() -> Iterator[str]:
    yield "## One network evaluation\n"
    lines = []
    for case in DIFFUSION:
        built = workload(case.model, forward(1, extent=case.extent, context_len=case.text))
        split = flop_split(built)
        labels = case.labels or tuple(split)
        tera = sum(split.get(label, 0) for label in labels) / case.flops_per_unit
        lines.append(_Line(case.what, case.published, tera, case.note))
    yield from _compared(lines, "as given")
    yield "## HunyuanVideo, 129 frames of 720x1280, 50 steps (arXiv 2502.21079)\n"
    video = generation("hunyuanvideo-720p")
    stage = video.stages[0]
    split = flop_split(stage.workload)
    attention = stage.times * split["attention"] / 1e15
    total = generation_totals(video).flops / 1e15
    note = "8 s at 16 frames per second"
    yield from _compared(
        [_Line("all", 600, total, note), _Line("attention", 500, attention)], "PFLOP"
    )
    yield "## Self-attention lengths by stage (Generative AI Beyond LLMs)\n"
    built = workload("sd15-unet", forward(1, extent=Extent(512, 512)))
    found = sorted(set(stage_lengths(built)), reverse=True)
    yield (
        f"Stable Diffusion 1.5 at 512x512: {', '.join(map(str, found))} tokens. From one stage to"
        f" the next the length changes by {found[0] / found[1]:.0f}x (published: 4x).\n"
    )


def _techniques() -> Iterator[str]:
    yield (
        f"Published figures are FLOP ratios unless the note says latency. Times are simulated on"
        f" `{_ARCH}` by `{_MAPPING}`, batch 1; a technique that saves FLOPs saves less time where"
        " bytes or launches bind.\n"
    )
    rows = []
    for technique in TECHNIQUES:
        before, after = _generations(technique)
        had, has = generation_totals(before), generation_totals(after)
        rows.append([
            technique.what, technique.published, f"{had.flops / has.flops:.2f}x",
            f"{had.effectual_flops / has.effectual_flops:.2f}x",
            f"{had.read_bytes / has.read_bytes:.2f}x",
            f"{_seconds(before) / _seconds(after):.2f}x",
            technique.note,
        ])  # fmt: skip
    heads = ("technique", "published", "FLOPs", "effectual FLOPs", "bytes read", "time", "note")
    yield from _table(heads, rows)


def _generations(technique: Technique) -> tuple[Generation, Generation]:
    """Return the generation without the technique and with it."""
    from accelsim.workload.transforms import transforms

    spec = load_model(technique.model)
    sizes: dict[str, Any] = {"seq_len": technique.seq_len, "request": technique.request}
    kind = dict(technique.transform)
    change = transforms()[kind.pop("kind")](**kind)
    before = generation(spec, **sizes)
    changed = spec.model_copy(update={"transforms": (change,)})
    return before, generation(changed, **sizes)


def _seconds(made: Generation) -> float:
    """Return the simulated time of a generation."""
    from accelsim import arch, mapping
    from accelsim.evaluation import simulate_workload

    design, policy = arch.load(_ARCH), mapping.load(_MAPPING)
    return sum(
        stage.times * simulate_workload(stage.workload, design, policy).latency_s
        for stage in made.stages
    )
