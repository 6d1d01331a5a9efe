"""Reads calibrations that a user names: scalars of the kernel model for one GPU and source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from accelsim.config import load_resolved, validate
from accelsim.cost.gpu import Calibration
from accelsim.errors import ConfigError, Location, UnknownNameError
from accelsim.measure.gpus import boards

__all__ = ["Named", "read_calibrations"]

_FORM: Final = "`accelsim calibrate` writes the board and the campaign that a calibration is for"


@dataclass(frozen=True, slots=True)
class Named:
    """A calibration and what it was fitted for.

    Attributes
    ----------
    file : Path
        Where it stands.
    gpu, source : str
        Board and campaign.
    split : str
        Which rows were fitted and which kept, in words.
    calibration : Calibration
        The scalars.
    """

    file: Path
    gpu: str
    source: str
    split: str
    calibration: Calibration


def read_calibrations(files: Iterable[str | Path]) -> dict[tuple[str, str], Named]:
    """Return (GPU, source) -> calibration of every file.

    Parameters
    ----------
    files : iterable of path
        YAML as ``accelsim calibrate`` writes it.

    Raises
    ------
    ConfigError
        If a file cannot be read, lacks a field, or two are for the same GPU and source.
    UnknownNameError
        If no component file lists the board.
    """
    found: dict[tuple[str, str], Named] = {}
    for file in map(Path, files):
        named = _read(file)
        key = named.gpu, named.source
        if key in found:
            raise ConfigError(
                f"is for {named.gpu} and {named.source}, as is {found[key].file}",
                Location(str(file)), hint="name one calibration per GPU and source",
            )  # fmt: skip
        found[key] = named
    return found


def _read(file: Path) -> Named:
    calibration = validate(load_resolved(file), Calibration)
    place = Location(str(file))
    for name in ("gpu", "campaign"):
        if not getattr(calibration, name):
            raise ConfigError("is missing", place, name, hint=_FORM)
    if calibration.gpu not in boards():
        raise UnknownNameError("board", calibration.gpu, boards(), place)
    return Named(file, calibration.gpu, calibration.campaign, calibration.split, calibration)
