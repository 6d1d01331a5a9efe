"""Lengths of the requests of a batch that are not all alike: listed, of a file, or drawn.

A draw is a snapshot of continuous batching, in which a request is met in proportion to how many
tokens it makes and uniformly far through making them.
"""

from __future__ import annotations

import csv
import math
import random
import re
from collections.abc import Iterable
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, Final

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from accelsim.config import Count, Positive, Spec
from accelsim.errors import ConfigError, Location, nearest

__all__ = ["Lengths", "cached_lengths", "grouped", "prompt_lengths"]

PATH: Final = "workload.lengths"
COLUMN: Final = "seq_len"
_ITEM: Final = re.compile(r"(?:([1-9]\d*)x)?([1-9]\d*)")
_LEAST: Final = 1e-12  # the normal quantile of 0 is infinite


def _read_listed(given: Any) -> Any:
    """Return the lengths of a text as ``4x128 1024``; anything else as it is."""
    if not isinstance(given, str):
        return (given,) if type(given) is int else given
    lengths: list[int] = []
    for item in given.replace(",", " ").split():
        found = _ITEM.fullmatch(item)
        if found is None:
            raise PydanticCustomError(
                "lengths", "`{item}` is no length; write 1024, or 4x1024 for four", {"item": item}
            )
        lengths += [int(found[2])] * int(found[1] or 1)
    return tuple(lengths)


def _whole(given: Any) -> int:
    if type(given) is not int or given < 0:
        raise PydanticCustomError("seed", "a whole number of at least 0 is needed")
    return given


class Lengths(Spec):
    """Lengths of a batch's requests: `listed`, of a `file`, or drawn from means and medians.

    Examples
    --------
    >>> Lengths(listed="2x128 1024").listed
    (128, 128, 1024)
    """

    listed: Annotated[tuple[Count, ...] | None, BeforeValidator(_read_listed)] = None
    """Tokens of each request in order of arrival; in a text ``4x1024`` stands for four."""
    file: str | None = None
    """CSV file with a column ``seq_len``, a request per row in order of arrival; a relative path
    begins at the working directory."""
    input_mean: Positive | None = None
    """Mean tokens of a prompt; all prompts have it unless a median is given."""
    input_median: Positive | None = None
    """Median tokens of a prompt, which makes prompts log-normal."""
    output_mean: Positive | None = None
    """Mean tokens of a whole answer; all answers have it unless a median is given."""
    output_median: Positive | None = None
    """Median tokens of a whole answer, which makes answers log-normal."""
    longest: Count | None = None
    """Tokens above which a request is cut, as by a model's window."""
    seed: Annotated[int, BeforeValidator(_whole)] = 0
    """Number of the draw, at least 0; a smaller batch has the first requests of a larger one."""
    bucket: Count = 1
    """Lengths are rounded to the nearest multiple, so that fewer kinds of them are evaluated."""
    padded: bool = False
    """All requests are as long as the longest, as in frameworks whose kernels take one length."""


def cached_lengths(asked: Lengths, batch: int) -> list[int]:
    """Return the cached tokens of each of `batch` decoding requests, in order of arrival.

    Parameters
    ----------
    asked : Lengths
    batch : int
        Requests, at least 1.

    Notes
    -----
    Of a drawn request the whole answer o is met in proportion to o: of log-normal answers of
    parameters mu, sigma again log-normal, of mu + sigma^2, sigma.  A uniform part of it is made.
    So the mean is ``input + E[o^2] / (2 E[o])`` tokens, before `longest` cuts.

    Raises
    ------
    ConfigError
        If it is not said how long requests are, or said twice, or for fewer than `batch`.

    Examples
    --------
    >>> cached_lengths(Lengths(input_mean=12, output_mean=56), 4)
    [36, 35, 39, 40]
    """
    given = _given(asked, batch)
    if given is None:
        if asked.output_mean is None:
            raise ConfigError(
                "decoding requests are drawn by their answers", path=f"{PATH}.output_mean"
            )
        prompts, answers = _law(asked, "input"), _law(asked, "output", met=True)
        rng = random.Random(asked.seed)
        given = []
        for _ in range(batch):
            prompt, answer, made = rng.random(), rng.random(), rng.random()
            given.append(round(_quantile(prompts, prompt) + made * _quantile(answers, answer)))
    return _fitted(given, asked)


def prompt_lengths(asked: Lengths, batch: int) -> list[int]:
    """Return the prompt tokens of each of `batch` requests, in order of arrival.

    Raises
    ------
    ConfigError
        If it is not said how long prompts are, or said twice, or for fewer than `batch`.

    Examples
    --------
    >>> prompt_lengths(Lengths(input_mean=80, input_median=20, seed=1), 3)
    [3, 110, 66]
    """
    given = _given(asked, batch)
    if given is None:
        law, rng = _law(asked, "input"), random.Random(asked.seed)
        given = [round(_quantile(law, rng.random())) for _ in range(batch)]
    return _fitted(given, asked)


def grouped(lengths: Iterable[int]) -> dict[int, int]:
    """Return length -> how many have it, in the order in which lengths first arrive.

    Examples
    --------
    >>> grouped([128, 64, 128])
    {128: 2, 64: 1}
    """
    counts: dict[int, int] = {}
    for length in lengths:
        counts[length] = counts.get(length, 0) + 1
    return counts


def _fitted(lengths: list[int], asked: Lengths) -> list[int]:
    """Return lengths as they are cut, rounded and padded."""
    cut, grain = asked.longest or max(lengths), asked.bucket
    found = [max(1, grain * ((2 * min(n, cut) + grain) // (2 * grain))) for n in lengths]
    return [max(found)] * len(found) if asked.padded else found


def _given(asked: Lengths, batch: int) -> list[int] | None:
    """Return the first `batch` lengths that are listed or in a file; None where they are drawn."""
    drawn = [name for name in ("input_mean", "output_mean") if getattr(asked, name) is not None]
    ways = [name for name in ("listed", "file") if getattr(asked, name) is not None] + drawn[:1]
    if len(ways) != 1:
        said = f"found {' and '.join(ways)}" if ways else "found neither"
        raise ConfigError(
            "lengths are either listed, or of a file, or drawn", path=PATH,
            hint=f"{said}: listed, file, or input_mean with output_mean",
        )  # fmt: skip
    if drawn:
        return None
    found = list(asked.listed or ()) if asked.file is None else _read(Path(asked.file))
    if len(found) < batch:
        raise ConfigError(
            f"{len(found)} lengths for a batch of {batch}", path=f"{PATH}.{ways[0]}",
            hint="a length for each request is needed; further ones are left out",
        )  # fmt: skip
    return found[:batch]


def _read(file: Path) -> list[int]:
    """Return the column of lengths of a CSV file; lines that begin with # are remarks."""
    place = Location(str(file))
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read it: {error}", Location(str(file)), f"{PATH}.file"
        ) from error
    numbered = [(i, line) for i, line in enumerate(lines, 1) if line and not line.startswith("#")]
    rows = csv.reader(line for _, line in numbered)
    header = [name.strip() for name in next(rows, [])]
    if COLUMN not in header:
        raise ConfigError(
            f"no column `{COLUMN}`", place, f"{PATH}.file", hint=nearest(COLUMN, header)
        )  # fmt: skip
    at, found = header.index(COLUMN), []
    for (number, _), row in zip(numbered[1:], rows, strict=False):
        text = row[at].strip() if at < len(row) else ""
        if not _ITEM.fullmatch(text) or "x" in text:
            raise ConfigError(
                f"`{text}` is no length", Location(str(file), number), f"{PATH}.file",
                hint="a whole number of at least 1 is needed",
            )  # fmt: skip
        found.append(int(text))
    return found


def _law(asked: Lengths, side: str, *, met: bool = False) -> tuple[float, float]:
    """Return mu and sigma of log-normal lengths; `met` weights each by its length."""
    mean, median = getattr(asked, f"{side}_mean"), getattr(asked, f"{side}_median")
    if mean is None:
        raise ConfigError("drawn requests need it", path=f"{PATH}.{side}_mean")
    if median is None:
        return math.log(mean), 0.0
    if median > mean:
        raise ConfigError(
            f"the median {median:g} of log-normal lengths is above their mean {mean:g}",
            path=f"{PATH}.{side}_median",
        )
    variance = 2 * math.log(mean / median)
    return math.log(median) + (variance if met else 0.0), math.sqrt(variance)


def _quantile(law: tuple[float, float], part: float) -> float:
    """Return the length that a part of all requests is below."""
    mu, sigma = law
    return math.exp(mu + sigma * NormalDist().inv_cdf(max(part, _LEAST)) if sigma else mu)
