"""Names a point by what it is: the content of its files, its parameters and the code that runs it.

Two points have one key exactly when they must have one result, so that a store never answers with
what an older file or an older accelsim computed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from accelsim._version import __version__
from accelsim.config import compose, library
from accelsim.explore.axes import PREFIX_KINDS
from accelsim.explore.space import Point

__all__ = ["code_version", "content", "file_of", "point_keys"]

_PACKAGE = Path(__file__).resolve().parent.parent
_WITHOUT_ANSWERS: Final = frozenset(
    {"cli", "report", "testing", "measure", "api.py", "__main__.py"}
)


@cache
def code_version() -> str:
    """Return accelsim's version and a digest of every source that can change an answer.

    Commands, reports and tests cannot; the technology table, read by all architectures, can.

    Examples
    --------
    >>> code_version().startswith(__version__ + "+")
    True
    """
    digest = hashlib.sha256()
    sources = [
        path
        for path in _PACKAGE.rglob("*.py")
        if path.relative_to(_PACKAGE).parts[0] not in _WITHOUT_ANSWERS
    ]
    digest.update((library.library_root() / "arch/components/technology.yaml").read_bytes())
    for path in sorted(sources):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"


def file_of(kind: str, name: str) -> Path:
    """Return the file of a name or path; of a model's folder its ``config.json``.

    Raises
    ------
    ConfigError
        If there is none; names the nearest.
    """
    inside = Path(name) / "config.json"
    return inside if kind == "models" and inside.is_file() else library.find(kind, name)


def content(kind: str, name: str) -> Any:
    """Return what a library file says, with everything that it extends; bytes if it is not YAML.

    Parameters
    ----------
    kind : str
        Library folder, one of ``accelsim.config.library.KINDS``.
    name : str
        Name in the library, or path of a file.
    """
    path = file_of(kind, name)
    if path.suffix in (".yaml", ".yml", ".json"):
        data = compose(path, kind).data
        named = _named_models(data) if kind == "models" else []
        return [data, *(content(kind, other) for other in named)]
    return path.read_bytes()


def _named_models(data: Any) -> list[str]:
    """Return the models that a file names: the networks of a pipeline, a draft model."""
    if isinstance(data, dict):
        own = [data["model"]] if isinstance(data.get("model"), str) else []
        return own + [name for value in data.values() for name in _named_models(value)]
    if isinstance(data, list):
        return [name for value in data for name in _named_models(value)]
    return []


def point_keys(code: str | None = None) -> Callable[[Point, str], str]:
    """Return the function from a point, and why it is excluded if it is, to its key.

    Each file is read once per function returned.  The order of overrides does not count.

    Parameters
    ----------
    code : str, optional
        Version of the code; of the one running unless given.
    """
    code = code or code_version()

    @cache
    def files(model: str, arch: str, mapping: str) -> str:
        named = zip(PREFIX_KINDS.values(), (model, arch, mapping), strict=True)
        return _digest([code, *((name, _digest(content(kind, name))) for kind, name in named)])

    def key(point: Point, reason: str = "") -> str:
        # An excluded point is another thing than the same point evaluated once the rule is gone.
        return _digest(
            [
                files(point.model, point.arch, point.mapping), point.phase, point.batch,
                point.seq_len, point.overrides, reason,
            ]
        )  # fmt: skip

    return key


def _digest(value: Any) -> str:
    """Return 128 bits as text: two of 10 million points collide with probability 1e-25."""
    given = value if isinstance(value, bytes) else _canonical(value).encode()
    return hashlib.sha256(given).hexdigest()[:32]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
