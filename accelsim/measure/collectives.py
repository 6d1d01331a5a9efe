"""Scores links on measured collectives, and repeats the fits that link components quote.

``python -m accelsim.measure.collectives --data ops.parquet --write reports/calibration`` rewrites
``collectives.md`` there, with the fitted figures as the component files give them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.config import library, load_spec
from accelsim.cost.link import AlphaBetaLink, course
from accelsim.errors import AccelsimError, ConfigError, MissingExtraError
from accelsim.measure.fit import Score, score
from accelsim.measure.link_fit import Collectives, fit_link, free_figures, predicted_s
from accelsim.measure.split import COLLECTIVES, even_octaves

__all__ = ["CAMPAIGNS", "Campaign", "Fit", "Link", "fit", "main", "read_collectives"]

_LONG: Final = 16 * 2**20  # bytes from which the bandwidth and not the start decides


@dataclass(frozen=True, slots=True)
class Campaign:
    """One source's collectives on one kind of machine.

    Attributes
    ----------
    gpu, source : str
        Board and source as in the table.
    equal : mapping
        Further columns and the value that they must have.
    notes : str
        Text that the row's notes must contain (devices per node).
    devices : tuple of int
        Numbers of devices to keep; all where empty.
    """

    gpu: str
    source: str
    equal: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    devices: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """One line that names the rows."""
        parts = [self.gpu, self.source, *self.equal.values(), self.notes]
        kept = f"{'/'.join(map(str, self.devices))} devices" if self.devices else ""
        return ", ".join(part for part in (*parts, kept) if part)


@dataclass(frozen=True, slots=True)
class Link:
    """A link component, what its figures are fitted on, and what they are tested on besides.

    Attributes
    ----------
    fitted : tuple of Campaign
        Rows whose even octaves are fitted; empty where the figures come from elsewhere.
    protocols : tuple of int
        Indices of the protocols that are free; all where empty.
    unseen : tuple of Campaign
        Rows of which none is fitted.
    """

    name: str
    fitted: tuple[Campaign, ...]
    unseen: tuple[Campaign, ...]
    protocols: tuple[int, ...] = ()


_A100: Final = "A100-SXM4-80GB"
_PAIRS: Final = "pairwise NVLink"
CAMPAIGNS: Final = (
    Link(
        "nvlink3",
        (
            Campaign(_A100, "aiconfigurator", {"impl": "nccl-2.27.3"}),
            Campaign(_A100, "vidur", {"op": "send_recv", "subop": "intra_node"}),
        ),
        (
            Campaign(_A100, "llmcompass", {"impl": "nccl"}),
            Campaign(_A100, "vidur", {"op": "allreduce", "subop": "intra_node"}),
        ),
    ),
    Link(
        "nvlink3_serving",
        (Campaign(_A100, "aiconfigurator", {"impl": "sglang-0.5.10", "timing": "nccl/graph"}),),
        (
            Campaign(_A100, "aiconfigurator", {"impl": "sglang-0.5.9", "timing": "nccl/graph"}),
            Campaign(_A100, "aiconfigurator", {"impl": "vllm-0.14.0", "timing": "nccl/graph"}),
            Campaign(_A100, "aiconfigurator", {"impl": "trtllm-1.0.0"}),
        ),
        protocols=(0, 1),
    ),
    Link(
        "pcie5_x16",
        (Campaign("RTXPRO6000", "aiconfigurator", {"impl": "nccl-2.29.2"}),),
        (
            Campaign("RTXPRO6000", "aiconfigurator", {"impl": "trtllm-1.3.0rc20"}),
            Campaign("RTXPRO6000", "aiconfigurator", {"impl": "trtllm-1.3.0rc10"}),
        ),
    ),
    Link(
        "pcie4_x16",
        (),
        (Campaign("A100-PCIe-80GB", "vidur", {"op": "allreduce"}, _PAIRS, (4,)),),
    ),
    Link(
        "nvlink3_bridge",
        (),
        (Campaign("A100-PCIe-80GB", "vidur", {"op": "allreduce"}, _PAIRS),),
    ),
    Link(
        "pcie3_x16",
        (Campaign("M40", "deepbench", {"op": "allreduce"}, "", (2, 4, 8)),),
        (Campaign("TITANX-Maxwell", "deepbench", {"op": "allreduce"}, "", (2, 4, 8)),),
        protocols=(1,),
    ),
)
"""Shipped links with measurements.  Left out: A40 transfers (5 GB/s: the host had no peer access),
collectives between nodes (the network is not described), eager rows (their clock holds the host).
"""


@dataclass(frozen=True, slots=True)
class Fit:
    """A link's figures and its errors on sets of rows.

    Attributes
    ----------
    figures : mapping of str to float
        Dotted path of every fitted figure -> value; empty where nothing is fitted.
    scores : mapping of str to tuple of Score
        Set of rows -> error of the link, of its raw bandwidth alone, and of a floor and one
        efficiency (two constants, fitted on the same rows that the link was).
    """

    figures: Mapping[str, float]
    scores: Mapping[str, tuple[Score, Score, Score]]


def read_collectives(path: Path, campaign: Campaign) -> Collectives:
    """Read the collectives of one campaign; rows of one size and pattern become their median.

    Raises
    ------
    ConfigError
        If no row matches.
    """
    import pandas as pd

    equal = {"gpu": campaign.gpu, "source": campaign.source, **campaign.equal}
    columns = ["op", "bytes", "n_devices", "latency_us", "notes", *campaign.equal]
    filters: list[tuple[str, str, Any]] = [(name, "==", value) for name, value in equal.items()]
    filters.append(("op", "in", list(COLLECTIVES)))
    try:
        table = pd.read_parquet(path, columns=list(dict.fromkeys(columns)), filters=filters)
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet", "reading a Parquet file") from None
    table = table[table["notes"].astype(str).str.contains(campaign.notes, regex=False)]
    if campaign.devices:
        table = table[table["n_devices"].isin(campaign.devices)]
    if table.empty:
        raise ConfigError(f"{path} has no collectives of {campaign.title}")
    keys = [table["op"].astype(str), table["bytes"], table["n_devices"]]
    median = table["latency_us"].groupby(keys).median().reset_index()
    return Collectives(
        median["op"].map(COLLECTIVES).to_numpy(np.str_),
        median["bytes"].to_numpy(np.int64),
        median["n_devices"].to_numpy(np.int64),
        median["latency_us"].to_numpy(np.float64) * 1e-6,
    )


def fit(link: Link, data: Path) -> Fit:
    """Fit a link where it has rows to be fitted on, and score it on those and on all others.

    Parameters
    ----------
    link : Link
        One of `CAMPAIGNS`.
    data : Path
        Table of measured operators.
    """
    one = load_spec(library.find("arch", f"components/{link.name}"), AlphaBetaLink)
    sets: dict[str, Collectives] = {}
    train = None
    if link.fitted:
        rows = _together([read_collectives(data, campaign) for campaign in link.fitted])
        train = rows.where(even_octaves(rows.size_bytes))
        one = fit_link(one, train, link.protocols)
        sets["even octaves, fitted"] = train
        test = rows.where(~even_octaves(rows.size_bytes))
        sets["odd octaves"] = test
        for pattern in np.unique(test.pattern).tolist():
            sets[f"odd octaves, {pattern}"] = test.where(test.pattern == pattern)
    for campaign in link.unseen:
        rows = read_collectives(data, campaign)
        sets[campaign.title] = rows
        sets[f"{campaign.title}, from 16 MiB"] = rows.where(rows.size_bytes >= _LONG)
    free = free_figures(one.model_dump(), link.protocols) if link.fitted else []
    figures = {".".join(map(str, path)): _at(one, path) for path in free}
    return Fit(figures, {name: _scores(one, rows, train) for name, rows in sets.items()})


def _at(link: AlphaBetaLink, path: Sequence[str | int]) -> float:
    node: Any = link.model_dump()
    for part in path:
        node = node[part]
    return float(node)


def _together(parts: Sequence[Collectives]) -> Collectives:
    return Collectives(
        np.concatenate([part.pattern for part in parts]),
        np.concatenate([part.size_bytes for part in parts]),
        np.concatenate([part.devices for part in parts]),
        np.concatenate([part.latency_s for part in parts]),
    )


def _scores(
    link: AlphaBetaLink, rows: Collectives, train: Collectives | None
) -> tuple[Score, Score, Score]:
    """Return the errors of the link, of its wires alone and of two constants on `rows`."""
    fitted = rows if train is None else train
    wires, known = _wires_s(link, rows), _wires_s(link, fitted)
    floor = float(np.quantile(fitted.latency_s, 0.02))
    long = known > 2 * floor
    slower = float(np.median(fitted.latency_s[long] / known[long])) if long.any() else 1.0
    return (
        score(predicted_s(link, rows), rows.latency_s),
        score(wires, rows.latency_s),
        score(np.maximum(floor, wires * slower), rows.latency_s),
    )


def _wires_s(link: AlphaBetaLink, rows: Collectives) -> NDArray[np.float64]:
    """Return what the bytes that a device sends take at the data sheet's bandwidth, in s."""
    calls = zip(rows.pattern.tolist(), rows.devices.tolist(), strict=True)
    parts = np.array([course(pattern, devices).sent for pattern, devices in calls])
    seconds: NDArray[np.float64] = rows.size_bytes * parts / link.bandwidth_bytes_per_s
    return seconds


def page(fits: Mapping[str, Fit], command: str) -> str:
    """Return the report as Markdown."""
    lines = [
        "# Links against measured collectives",
        "",
        f"Generated by `{command}` on {date.today().isoformat()}; change that, not this page.",
        "Mean absolute error, its 90th percentile and the bias, per set of rows; beside it the",
        "mean error of the raw bandwidth alone, and of two constants (a floor and one efficiency)",
        "fitted on the rows that the link was fitted on, or, without such, on the same rows.",
        "Small collectives of vidur are bimodal (10 or 55 us for the same call); rows of one size",
        "count once, with their median.",
    ]
    for name, one in fits.items():
        lines += ["", f"## {name}", ""]
        if not one.figures:
            lines += ["Nothing fitted: figures from data sheets and NCCL's source.", ""]
        lines += ["| rows | n | error | p90 | bias | bandwidth | two constants |"]
        lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
        lines += [
            f"| {rows} | {ours.rows} | {ours.mape:.1%} | {ours.p90:.1%} | {ours.bias:+.1%}"
            f" | {wires.mape:.1%} | {two.mape:.1%} |"
            for rows, (ours, wires, two) in one.scores.items()
        ]
        if one.figures:
            lines += ["", "| figure | fitted |", "| --- | --- |"]
            lines += [f"| {figure} | {value:.4g} |" for figure, value in one.figures.items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m accelsim.measure.collectives")
    parser.add_argument("--data", type=Path, required=True, help="table of measured operators")
    parser.add_argument("--write", type=Path, help="folder for collectives.md")
    given = parser.parse_args(arguments)
    try:
        fits = {link.name: fit(link, given.data) for link in CAMPAIGNS}
    except AccelsimError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    text = page(fits, "python -m accelsim.measure.collectives --data ops.parquet")
    sys.stdout.write(text)
    if given.write:
        given.write.mkdir(parents=True, exist_ok=True)
        (given.write / "collectives.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
