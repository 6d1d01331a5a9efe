"""Fits the seven scalars of the GPU kernel model on measured matrix products of one campaign.

``python -m accelsim.measure.calibrate --data ops.parquet --write reports/calibration`` repeats
every fit that the architecture files quote; with ``--gpu`` and ``--source`` it does one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from accelsim.cost._gpu_kernels import matmul
from accelsim.cost.gpu import Calibration, Gpu
from accelsim.errors import AccelsimError, MissingExtraError
from accelsim.jit import kernel
from accelsim.measure.gpus import board
from accelsim.measure.products import BYTES, Products, Score, read_products, score, split_rows

__all__ = ["CAMPAIGNS", "SCALARS", "Fit", "calibrate_gemm", "main", "predicted_s", "typical"]

SCALARS: Final = {
    "compute_efficiency": (0.4, 1.0),
    "memory_efficiency": (0.4, 1.0),
    "start_s": (0.0, 12e-6),
    "smoothness": (1.0, 8.0),
    "edge_elements": (0.0, 60.0),
    "wave_rounding": (0.0, 1.0),
    "fill_elements": (0.0, 500.0),
}
"""Scalars in the order of the search, with the bounds of it."""

CAMPAIGNS: Final = (
    ("A100-PCIe-80GB", "vidur", "fp16"),
    ("A40", "vidur", "fp16"),
    ("A6000", "llmservingsim", "fp16"),
    ("RTX3090", "llmservingsim", "fp16"),
    ("RTXPRO6000", "llmservingsim", "bf16"),
    ("A100-SXM4-80GB", "aiconfigurator", "bf16"),
    ("RTXPRO6000", "aiconfigurator", "bf16"),
)
"""Board, source and format of every fit; their clocks see kernels or graph replay, no launch."""

_PER_OCTAVE = 80  # fitted rows for each doubling of m, so that decode counts as much as prefill
_SEED = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """A calibration and its errors.

    Attributes
    ----------
    calibration : Calibration
        The fitted scalars.
    model, roofline, two_constants : mapping of str to Score
        Error on the rows ``train``, ``test`` and ``unseen`` (test rows whose weight matrix no
        train row has): of the fit, of the datasheet roofline, and of a launch floor and one
        efficiency fitted on the same train rows.
    """

    calibration: Calibration
    model: Mapping[str, Score]
    roofline: Mapping[str, Score]
    two_constants: Mapping[str, Score]


@kernel
def _times(
    m: Any, n: Any, k: Any, width: float, sms: int, peak: float, shared: float, l2: float,
    bandwidth: float, efficiency: float, reach: float, start: float, p: float, edge: float,
    rounding: float, fill: float,
) -> Any:  # fmt: skip
    out = np.empty(m.size)
    for i in range(m.size):
        a, b, c = m[i] * k[i] * width, k[i] * n[i] * width, m[i] * n[i] * width
        out[i] = matmul(
            1, m[i], n[i], k[i], width, width, width, a, b, c,
            sms, peak, shared, l2, bandwidth * reach,
            efficiency, start, p, edge, rounding, fill,
        )[0]  # fmt: skip
    return out


def predicted_s(
    rows: Products, gpu: Gpu, bandwidth: float, scalars: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the model's time of every row, in s; `scalars` in the order of `SCALARS`."""
    times: NDArray[np.float64] = _times(
        rows.m, rows.n, rows.k, BYTES[rows.dtype], gpu.sms, gpu.peak(rows.dtype),
        gpu.shared_memory_bytes, gpu.l2_bytes, bandwidth, *scalars,
    )  # fmt: skip
    return times


def roofline_s(rows: Products, gpu: Gpu, bandwidth: float) -> NDArray[np.float64]:
    """Return the larger of datasheet compute and memory time of every row, in s."""
    m, n, k = (a.astype(np.float64) for a in (rows.m, rows.n, rows.k))
    moved = (m * k + k * n + m * n) * BYTES[rows.dtype]
    return np.maximum(2.0 * m * n * k / gpu.peak(rows.dtype), moved / bandwidth)


def calibrate_gemm(rows: Products, gpu: Gpu, bandwidth: float, *, fitted_on: str = "") -> Fit:
    """Fit the seven scalars on the train split of `rows` and report the error on both splits.

    Parameters
    ----------
    rows : Products
        Measured products of one campaign on one GPU.
    gpu : Gpu
        Its datasheet figures; the calibration in it is not used.
    bandwidth : float
        Datasheet memory bandwidth of the board, byte/s.
    fitted_on : str, optional
        What the rows are, for the calibration's own record.

    Notes
    -----
    Minimises the mean of |ln(predicted/measured)| by differential evolution, then Nelder-Mead.

    Raises
    ------
    MissingExtraError
        Without scipy.
    """
    fitted, how = split_rows(rows)
    train, test = rows.where(fitted), rows.where(~fitted)
    known = set(train.matrices())
    unseen = test.where(np.array([matrix not in known for matrix in test.matrices()], dtype=bool))
    sample = _sample(train)

    def loss(scalars: NDArray[np.float64]) -> float:
        ratio = predicted_s(sample, gpu, bandwidth, scalars) / sample.latency_s
        return float(np.abs(np.log(ratio)).mean())

    best = _rounded(_minimum(loss))
    parts = {"train": train, "test": test, "unseen": unseen}
    constants = _two_constants(sample, gpu, bandwidth)
    model = {n: score(predicted_s(r, gpu, bandwidth, best), r.latency_s) for n, r in parts.items()}
    roof = {n: score(roofline_s(r, gpu, bandwidth), r.latency_s) for n, r in parts.items()}
    two = {n: score(constants(r), r.latency_s) for n, r in parts.items()}
    error = (
        f"test MAPE {model['test'].mape:.1%}, p90 {model['test'].p90:.1%}; on weight matrices not"
        f" fitted {model['unseen'].mape:.1%}; train {model['train'].mape:.1%}; datasheet roofline"
        f" on the test rows {roof['test'].mape:.1%}"
    )
    values = dict(zip(SCALARS, best.tolist(), strict=True))
    calibration = Calibration(**values, fitted_on=fitted_on, split=how, error=error)
    return Fit(calibration, model, roof, two)


def _rounded(scalars: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scalars to four digits, as they are written, so that errors are theirs."""
    return np.array([float(f"{x:.4g}") for x in scalars])


def _sample(rows: Products) -> Products:
    """Return the rows to fit: equally many from each doubling of m, by a fixed seed."""
    random = np.random.default_rng(_SEED)
    octave = np.floor(np.log2(np.maximum(rows.m, 8)))
    picked = []
    for value in np.unique(octave):
        here = np.flatnonzero(octave == value)
        picked.append(random.choice(here, min(_PER_OCTAVE, here.size), replace=False))
    return rows.where(np.concatenate(picked))


def _minimum(loss: Callable[[NDArray[np.float64]], float]) -> NDArray[np.float64]:
    try:
        optimize = import_module("scipy.optimize")
    except ImportError:
        raise MissingExtraError("scipy", "dev", "calibration") from None
    bounds = list(SCALARS.values())
    low, high = np.array(bounds).T

    def inside(x: NDArray[np.float64]) -> float:
        return loss(np.clip(x, low, high))

    wide = optimize.differential_evolution(
        inside, bounds, seed=_SEED, maxiter=40, popsize=12, polish=False
    )
    near = optimize.minimize(
        inside, wide.x, method="Nelder-Mead", options={"maxiter": 900, "adaptive": True}
    )
    best: NDArray[np.float64] = np.clip(near.x, low, high)
    return best


def _two_constants(
    sample: Products, gpu: Gpu, bandwidth: float
) -> Callable[[Products], NDArray[np.float64]]:
    """Return the predictor max(floor, roofline / efficiency), both fitted on `sample`."""
    roof = roofline_s(sample, gpu, bandwidth)
    floors = np.quantile(sample.latency_s, np.linspace(0.0, 0.3, 16))
    best = (np.inf, 0.0, 1.0)
    for floor in floors:
        for efficiency in np.linspace(0.3, 1.0, 71):
            guess = np.maximum(floor, roof / efficiency)
            loss = float(np.abs(np.log(guess / sample.latency_s)).mean())
            best = min(best, (loss, float(floor), float(efficiency)))
    _, floor, efficiency = best
    return lambda rows: np.maximum(floor, roofline_s(rows, gpu, bandwidth) / efficiency)


def typical(
    calibrations: Sequence[Calibration], names: Sequence[str], error: str = "unknown"
) -> Calibration:
    """Return the mean of several GPUs' scalars, for a GPU of which no rows are known."""
    means = np.mean([[getattr(c, name) for name in SCALARS] for c in calibrations], axis=0)
    values = dict(zip(SCALARS, _rounded(means).tolist(), strict=True))
    return Calibration(
        **values,
        fitted_on="no row of this GPU: mean of the scalars of " + ", ".join(names),
        split="none",
        error=error,
    )


@dataclass(frozen=True, slots=True)
class _Campaign:
    gpu: str
    source: str
    dtype: str
    data: Path

    @property
    def stem(self) -> str:
        return f"{self.gpu}-{self.source}".lower()

    def fit(self) -> Fit:
        spec, bandwidth = board(self.gpu)
        rows = read_products(self.data, self.gpu, self.source, self.dtype)
        return calibrate_gemm(
            rows, spec, bandwidth, fitted_on=f"{self.gpu}, {self.source}, {self.dtype} products"
        )

    def transferred(self, calibration: Calibration) -> Score:
        """Return the error of another calibration on all rows of this campaign."""
        spec, bandwidth = board(self.gpu)
        rows = read_products(self.data, self.gpu, self.source, self.dtype)
        scalars = np.array([getattr(calibration, name) for name in SCALARS])
        return score(predicted_s(rows, spec, bandwidth, scalars), rows.latency_s)


def _record(campaign: _Campaign, fit: Fit, command: str) -> dict[str, Any]:
    """Return what a report file holds."""
    parts = {"model": fit.model, "roofline": fit.roofline, "two_constants": fit.two_constants}
    return {
        "gpu": campaign.gpu,
        "source": campaign.source,
        "dtype": campaign.dtype,
        "date": date.today().isoformat(),
        "command": command,
        "calibration": fit.calibration.model_dump(),
        "error": {
            name: {part: asdict(value) for part, value in scores.items()}
            for name, scores in parts.items()
        },
    }


def _save(folder: Path, stem: str, record: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = "# Generated by the command below; change that, not this file.\n"
    text += yaml.safe_dump(record, sort_keys=False, width=96, allow_unicode=True)
    (folder / f"{stem}.yaml").write_text(text)


def _show(campaign: _Campaign, fit: Fit) -> None:
    values = {name: getattr(fit.calibration, name) for name in SCALARS}
    sys.stdout.write(f"{campaign.gpu} {campaign.source} {campaign.dtype}\n  {values}\n")
    for part, model in fit.model.items():
        roofline, constants = fit.roofline[part], fit.two_constants[part]
        sys.stdout.write(
            f"  {part:7s} {model.rows:6d} rows   MAPE {model.mape:6.1%}  p90 {model.p90:6.1%}"
            f"  bias {model.bias:+6.1%}   roofline {roofline.mape:6.1%}  p90 {roofline.p90:6.1%}"
            f"   two constants {constants.mape:6.1%}\n"
        )


def _typical(campaigns: Sequence[_Campaign], fits: Sequence[Fit], command: str) -> dict[str, Any]:
    """Return the mean calibration, and how the mean of the others does on each campaign."""
    kept: dict[str, Any] = {}
    for one in campaigns:
        others = {
            campaign.stem: fit.calibration
            for campaign, fit in zip(campaigns, fits, strict=True)
            if campaign.gpu != one.gpu
        }
        if others:
            guess = typical(list(others.values()), list(others))
            kept[one.stem] = asdict(one.transferred(guess))
    errors = [value["mape"] for value in kept.values()]
    known = f"; without a GPU's own rows {min(errors):.0%} to {max(errors):.0%} MAPE on those GPUs"
    mean = typical(
        [f.calibration for f in fits],
        [c.stem for c in campaigns],
        "unknown for this GPU" + (known if errors else ""),
    )
    return {
        "date": date.today().isoformat(),
        "command": command,
        "calibration": mean.model_dump(),
        "error_when_the_gpu_itself_is_left_out": kept,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m accelsim.measure.calibrate")
    parser.add_argument("--data", type=Path, required=True, help="table of measured operators")
    parser.add_argument("--gpu", help="board, as in the table and in the component files")
    parser.add_argument("--source", help="campaign, as in the table")
    parser.add_argument("--dtype", default="fp16", help="number format (with --gpu)")
    parser.add_argument("--write", type=Path, help="folder for a report of each fit")
    given = parser.parse_args(arguments)
    command = "python -m accelsim.measure.calibrate --data ops.parquet"
    chosen: Sequence[tuple[str, str, str]] = CAMPAIGNS
    if given.gpu or given.source:
        if not (given.gpu and given.source):
            parser.error("--gpu and --source go together")
        chosen = ((given.gpu, given.source, given.dtype),)
        command += f" --gpu {given.gpu} --source {given.source} --dtype {given.dtype}"
    try:
        _run([_Campaign(*names, given.data) for names in chosen], command, given.write)
    except AccelsimError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _run(campaigns: Sequence[_Campaign], command: str, folder: Path | None) -> None:
    fits = []
    for campaign in campaigns:
        fits.append(campaign.fit())
        _show(campaign, fits[-1])
        if folder:
            _save(folder, campaign.stem, _record(campaign, fits[-1], command))
    if len(campaigns) > 1:
        record = _typical(campaigns, fits, command)
        sys.stdout.write(yaml.safe_dump(record, sort_keys=False))
        if folder:
            _save(folder, "typical", record)


if __name__ == "__main__":
    sys.exit(main())
