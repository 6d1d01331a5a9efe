"""Fits the figures of a link on measured collectives.

What a fit may move is read from the link itself: what its component file gives and is not zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import astuple, dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelsim.cost.link import PATTERNS, AlphaBetaLink, course

__all__ = ["Collectives", "Figure", "fit_link", "free_figures", "predicted_s"]

_SEED: Final = 0

Figure = tuple[str | int, ...]
"""Path of one figure in a link's data, for example ``("protocols", 0, "start_s")``."""

_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "start_s": (1e-7, 2e-4),
    "latency_s": (1e-8, 2e-5),
    "efficiency": (0.01, 1.0),
    "local_bytes_per_s": (3e11, 5e12),
    "bandwidth_bytes_per_s": (1e9, 1e12),
}
"""Bounds of the search, by the name of the figure."""


@dataclass(frozen=True, slots=True)
class Collectives:
    """Measured collectives, an entry per row.

    Attributes
    ----------
    pattern : ndarray of str
        As `accelsim.cost.link.PATTERNS`.
    size_bytes, devices : ndarray of int64
        The whole array, and the devices that take part.
    latency_s : ndarray of float64
        Measured times.
    """

    pattern: NDArray[np.str_]
    size_bytes: NDArray[np.int64]
    devices: NDArray[np.int64]
    latency_s: NDArray[np.float64]

    def where(self, mask: NDArray[Any]) -> Collectives:
        """Return the rows that a mask selects."""
        names = ("pattern", "size_bytes", "devices", "latency_s")
        return replace(self, **{name: getattr(self, name)[mask] for name in names})


def free_figures(data: Mapping[str, Any], protocols: Sequence[int] = ()) -> list[Figure]:
    """Return the figures of a link that a fit may move: what is given and is not zero.

    Raw bandwidths of the device come from its data sheet and stay.
    """
    chosen = protocols or range(len(data["protocols"]))
    found: list[Figure] = [
        ("protocols", i, name)
        for i in chosen
        for name in ("start_s", "latency_s", "efficiency")
        if data["protocols"][i].get(name)
    ]
    if protocols:
        return found
    if data.get("between"):
        names = ("bandwidth_bytes_per_s", "latency_s")
        found += [("between", name) for name in names if data["between"].get(name)]
    if data.get("local_bytes_per_s"):
        found.append(("local_bytes_per_s",))
    return found


def predicted_s(link: AlphaBetaLink, rows: Collectives) -> NDArray[np.float64]:
    """Return the link's time of every row, in s."""
    calls = zip(
        rows.pattern.tolist(), rows.size_bytes.tolist(), rows.devices.tolist(), strict=True
    )
    return np.array([link.collective_ps(*call) * 1e-12 for call in calls])


def fit_link(
    link: AlphaBetaLink, rows: Collectives, protocols: Sequence[int] = ()
) -> AlphaBetaLink:
    """Return a link whose free figures are fitted on `rows`.

    Notes
    -----
    Minimises the mean of |ln(predicted/measured)| over the logarithms of the figures by
    differential evolution, then Nelder-Mead; four digits are kept.
    """
    data = link.model_dump()
    free, times = free_figures(data, protocols), _times_of(data, rows)
    bounds = np.log([_bounds(data, figure) for figure in free])

    def loss(x: NDArray[np.float64]) -> float:
        values = np.exp(np.clip(x, *bounds.T))
        return float(np.abs(np.log(times(_moved(data, free, values)) / rows.latency_s)).mean())

    best = np.exp(np.clip(_minimum(loss, bounds), *bounds.T))
    rounded = np.array([float(f"{value:.4g}") for value in best])
    return AlphaBetaLink.model_validate(_ordered(_moved(data, free, rounded)))


def _ordered(data: dict[str, Any]) -> dict[str, Any]:
    """Return the data with protocols of the same patterns from short to long messages."""
    protocols = list(data["protocols"])
    kinds = [(p["patterns"], p["algorithm"]) for p in protocols]
    for kind in set(kinds):
        places = [i for i, other in enumerate(kinds) if other == kind]
        ranked = sorted((protocols[i] for i in places), key=lambda p: p["efficiency"])
        for place, protocol in zip(places, ranked, strict=True):
            protocols[place] = protocol
    return data | {"protocols": protocols}


def _bounds(data: Mapping[str, Any], figure: Figure) -> tuple[float, float]:
    low, high = _BOUNDS[str(figure[-1])]
    if figure == ("local_bytes_per_s",):  # the own part is never slower than the link
        low = float(data["bandwidth_bytes_per_s"])
    return low, high


def _moved(
    data: Mapping[str, Any], free: Sequence[Figure], values: NDArray[np.float64]
) -> dict[str, Any]:
    """Return the data with the figures at `free` replaced."""
    changed = deepcopy(dict(data))
    for figure, value in zip(free, values.tolist(), strict=True):
        node: Any = changed
        for part in figure[:-1]:
            node = node[part]
        node[figure[-1]] = value
    return changed


def _times_of(
    data: Mapping[str, Any], rows: Collectives
) -> Callable[[Mapping[str, Any]], NDArray[np.float64]]:
    """Return the link's equation over all rows at once: what a fit calls thousands of times.

    `AlphaBetaLink.collective_ps` states the same for one row; a test holds the two together.
    """
    group = data["between"]["group_devices"] if data.get("between") else None
    served = []
    for protocol in data["protocols"]:
        algorithm = protocol.get("algorithm") or data.get("algorithm", "ring")
        chosen = protocol.get("patterns") or list(PATTERNS)
        here = np.flatnonzero(np.isin(rows.pattern, chosen))
        pairs = zip(rows.pattern[here].tolist(), rows.devices[here].tolist(), strict=True)
        ways = [course(pattern, devices, algorithm, group) for pattern, devices in pairs]
        table = np.array([astuple(way) for way in ways]).reshape(-1, 5).T
        served.append((here, rows.size_bytes[here], table))
    return partial(_times, served, len(rows.pattern))


def _times(served: Any, count: int, data: Mapping[str, Any]) -> NDArray[np.float64]:
    between, local = data.get("between"), data.get("local_bytes_per_s")
    best, most = np.full(count, np.inf), np.zeros(count)
    for protocol, (here, *_) in zip(data["protocols"], served, strict=True):
        most[here] = np.maximum(most[here], protocol["efficiency"])
    for protocol, (here, size, (steps, crossings, sent, crossed, own)) in zip(
        data["protocols"], served, strict=True
    ):
        latency = protocol["start_s"] + steps * protocol["latency_s"]
        per_byte = sent / data["bandwidth_bytes_per_s"] / protocol["efficiency"]
        if between:
            latency = latency + crossings * between["latency_s"]
            carried = between["efficiency"] * protocol["efficiency"] / most[here]
            out = crossed / between["bandwidth_bytes_per_s"] / carried
            per_byte = np.maximum(per_byte, out)
        per_byte = per_byte + (own / local if local else 0.0)
        best[here] = np.minimum(best[here], latency + size * per_byte)
    return best


def _minimum(
    loss: Callable[[NDArray[np.float64]], float], bounds: NDArray[np.float64]
) -> NDArray[np.float64]:
    optimize: Any = import_module("scipy.optimize")  # half a second that only fitting needs
    wide = optimize.differential_evolution(
        loss, list(map(tuple, bounds)), seed=_SEED, maxiter=300, popsize=12, polish=False
    )
    options = {"maxiter": 8000, "maxfev": 8000, "adaptive": True}
    near = optimize.minimize(loss, wide.x, method="Nelder-Mead", options=options)
    best: NDArray[np.float64] = near.x
    return best
