"""What one forward pass processes: groups of sequences, each with new and with past tokens.

Linear layers see the new tokens of all groups together; attention is one operator per group,
since each group has its own lengths.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from accelsim.errors import ConfigError

__all__ = [
    "PHASES",
    "Extent",
    "Phase",
    "PhaseKind",
    "SequenceGroup",
    "decode",
    "forward",
    "mixed",
    "prefill",
]

PhaseKind = Literal["prefill", "decode", "mixed", "forward"]
PHASES: Final[tuple[str, ...]] = get_args(PhaseKind)
"""Names of the phases."""


def _require(name: str, value: object, least: int) -> None:
    if type(value) is not int or value < least:
        raise ConfigError(f"{value!r} is not a whole number of at least {least}", path=name)


@dataclass(frozen=True, slots=True)
class SequenceGroup:
    """Sequences of equal lengths.

    Parameters
    ----------
    count : int
        Number of sequences, at least 1.
    q_len : int
        New tokens of each, at least 1.
    past_len : int
        Tokens of each that are in its cache already, at least 0.
    """

    count: int
    q_len: int
    past_len: int = 0

    def __post_init__(self) -> None:
        _require("count", self.count, 1)
        _require("q_len", self.q_len, 1)
        _require("past_len", self.past_len, 0)

    @property
    def tokens(self) -> int:
        """New tokens of the group."""
        return self.count * self.q_len

    @property
    def kv_len(self) -> int:
        """Tokens that the last new token of a sequence attends to, itself included."""
        return self.past_len + self.q_len


@dataclass(frozen=True, slots=True)
class Extent:
    """Size of an image or a video in pixels, as the user sees it (before any autoencoder).

    Parameters
    ----------
    height, width : int
        Pixels, at least 1.
    frames : int
        Frames of a video, 1 for an image.
    """

    height: int
    width: int
    frames: int = 1

    def __post_init__(self) -> None:
        _require("height", self.height, 1)
        _require("width", self.width, 1)
        _require("frames", self.frames, 1)

    def __str__(self) -> str:
        return f"{self.height}x{self.width}" + (f"x{self.frames}" if self.frames > 1 else "")


@dataclass(frozen=True, slots=True)
class Phase:
    """One forward pass.

    Parameters
    ----------
    kind : {"prefill", "decode", "mixed", "forward"}
        In ``decode`` every sequence has one new token; ``forward`` is one pass of a network that
        keeps no cache: an encoder, a vision network, one denoising step, an autoencoder.
    groups : tuple of SequenceGroup
        At least one.
    extent : Extent, optional
        Size of the images or videos; the model's own where absent.
    context_len : int, optional
        Tokens of another sequence that the new ones attend to: text that conditions an image, or
        the source of an encoder-decoder; the model's own where absent.

    Examples
    --------
    >>> phase = mixed([SequenceGroup(1, 512), SequenceGroup(16, 1, 1023)])
    >>> phase.tokens, phase.batch, str(phase)
    (528, 17, 'mixed 1x512, 16x1 past 1023')
    """

    kind: PhaseKind
    groups: tuple[SequenceGroup, ...]
    extent: Extent | None = None
    context_len: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in PHASES:
            raise ConfigError(
                f"found `{self.kind}`", path="kind", hint=f"legal: {', '.join(PHASES)}"
            )
        if self.context_len is not None:
            _require("context_len", self.context_len, 1)
        if not self.groups:
            raise ConfigError("a phase needs at least one sequence", path="groups")
        if self.kind == "decode" and any(group.q_len != 1 for group in self.groups):
            raise ConfigError(
                "decode has one new token per sequence", path="q_len", hint="use `mixed`"
            )

    @property
    def tokens(self) -> int:
        """New tokens of all sequences."""
        return sum(group.tokens for group in self.groups)

    @property
    def batch(self) -> int:
        """Number of sequences."""
        return sum(group.count for group in self.groups)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence at the end of the pass."""
        return max(group.kv_len for group in self.groups)

    def __str__(self) -> str:
        parts = (
            f"{g.count}x{g.q_len}" + (f" past {g.past_len}" if g.past_len else "")
            for g in self.groups
        )
        text = f"{self.kind} {', '.join(parts)}"
        if self.extent is not None:
            text += f" of {self.extent}"
        return text + (f" context {self.context_len}" if self.context_len else "")


def prefill(
    batch: int, seq_len: int, past_len: int = 0, *, context_len: int | None = None
) -> Phase:
    """Return the pass that reads `seq_len` new tokens of each of `batch` sequences.

    Parameters
    ----------
    batch : int
        Sequences.
    seq_len : int
        New tokens of each.
    past_len : int
        Tokens already cached, of an earlier chunk or a shared prefix.
    context_len : int, optional
        Source tokens of each, of an encoder-decoder.

    Raises
    ------
    ConfigError
        Names the argument that is out of range.
    """
    _require("batch", batch, 1)
    _require("seq_len", seq_len, 1)
    return Phase("prefill", (SequenceGroup(batch, seq_len, past_len),), None, context_len)


def decode(batch: int, past_len: int, *, context_len: int | None = None) -> Phase:
    """Return the pass that makes one more token of each of `batch` sequences.

    Parameters
    ----------
    batch : int
        Sequences.
    past_len : int
        Cached tokens; the new one attends to ``past_len + 1``.
    context_len : int, optional
        Source tokens of each, of an encoder-decoder.

    Raises
    ------
    ConfigError
        Names the argument that is out of range.

    Examples
    --------
    >>> decode(16, 1023).groups[0].kv_len
    1024
    """
    _require("batch", batch, 1)
    return Phase("decode", (SequenceGroup(batch, 1, past_len),), None, context_len)


def mixed(groups: Iterable[SequenceGroup]) -> Phase:
    """Return a pass over sequences of different lengths, as continuous batching runs them.

    Raises
    ------
    ConfigError
        If there is no group.
    """
    return Phase("mixed", tuple(groups))


def forward(
    batch: int,
    seq_len: int = 1,
    *,
    extent: Extent | None = None,
    context_len: int | None = None,
) -> Phase:
    """Return one pass of a network that keeps no cache.

    Parameters
    ----------
    batch : int
        Sequences, images or videos.
    seq_len : int
        Tokens of each sequence; 1 for images and videos, whose extent says how many there are.
    extent : Extent, optional
        Size of the images or videos; the model's own where absent.
    context_len : int, optional
        Tokens of the text that conditions them; the model's own where absent.

    Examples
    --------
    >>> str(forward(2, extent=Extent(512, 512), context_len=77))
    'forward 2x1 of 512x512 context 77'
    """
    _require("batch", batch, 1)
    _require("seq_len", seq_len, 1)
    return Phase("forward", (SequenceGroup(batch, seq_len),), extent, context_len)
