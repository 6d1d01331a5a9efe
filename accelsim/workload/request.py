"""What is asked of a model beyond batch and sequence length, and the pass that it means.

The fields are what a sweep or ``--set`` changes under ``workload.``: image size, frames, length of
the conditioning text, steps of a generation, lengths of requests, the conventions of counting.
"""

from __future__ import annotations

from typing import Any, Final

from accelsim.config import Count, Resolved, Spec, Tree, validate
from accelsim.errors import ConfigError, nearest
from accelsim.workload.conventions import Conventions
from accelsim.workload.families import family
from accelsim.workload.lengths import Lengths, cached_lengths, grouped, prompt_lengths
from accelsim.workload.model import ModelSpec
from accelsim.workload.phase import (
    PHASES,
    Extent,
    Phase,
    SequenceGroup,
    decode,
    forward,
    mixed,
    prefill,
)

__all__ = ["Request", "phase_of", "read_request"]


class Request(Spec):
    """Sizes of a pass or of a generation; the model's own where absent.

    Examples
    --------
    >>> Request(height=512, width=512, steps=20).conventions.logits
    'last'
    """

    height: Count | None = None
    """Height of the image or video in pixels."""
    width: Count | None = None
    """Width of the image or video in pixels."""
    frames: Count | None = None
    """Frames of a video."""
    context_len: Count | None = None
    """Tokens of the text that conditions an image, or of an encoder-decoder's source."""
    output_len: Count = 128
    """Tokens that a generation of text makes."""
    steps: Count | None = None
    """Denoising steps of a generation."""
    guidance: Count | None = None
    """Network evaluations per step: 2 with classifier-free guidance."""
    lengths: Lengths | None = None
    """Lengths of the requests of a batch, in place of one for all."""
    conventions: Conventions = Conventions()
    """What is counted where implementations differ."""


_NOTHING: Final = Request()


def read_request(changes: dict[str, Any]) -> Request:
    """Return the request with some fields set by dotted path.

    Raises
    ------
    ConfigError
        Names the field that does not exist or has no legal value.

    Examples
    --------
    >>> read_request({"steps": 20, "conventions.mla": "expanded"}).conventions.mla
    'expanded'
    """
    if not changes:
        return _NOTHING
    data: dict[str, Any] = {}
    for path, value in changes.items():
        *parents, last = path.split(".")
        inside = data
        for parent in parents:
            inside = inside.setdefault(parent, {})
        inside[last] = value
    return validate(Resolved(Tree(data, "workload"), data), Request)


def extent_of(model: ModelSpec[Any], request: Request) -> Extent | None:
    """Return the image or video size that is asked for; None for the model's own.

    Raises
    ------
    ConfigError
        If only some of the sizes are given and the model has no others.
    """
    given = (request.height, request.width, request.frames)
    if given == (None, None, None):
        return None
    default = getattr(family(model.family), "default_extent", None)
    own: Extent | None = None if default is None else default(model.parameters)
    height = request.height or (own.height if own else None)
    width = request.width or (own.width if own else None)
    if height is None or width is None:
        raise ConfigError(
            f"`{model.name}` has no size of its own: height and width are needed together",
            path="workload.height" if height is None else "workload.width",
        )
    return Extent(height, width, request.frames or (own.frames if own else 1))


def phase_of(
    model: ModelSpec[Any], kind: str, batch: int, seq_len: int, request: Request = _NOTHING
) -> Phase:
    """Return the pass of a kind over `batch` sequences or images.

    Parameters
    ----------
    model : ModelSpec
        Decides what is left open.
    kind : str
        ``prefill`` of `seq_len` new tokens; ``decode`` of one new token after `seq_len` cached
        ones; ``mixed``, that decoding beside a prefill of one more sequence; ``forward``.
    batch, seq_len : int
        Sequences or images, and tokens of each; images have no tokens to give.  Where the request
        has lengths of its own, `seq_len` is of the prefill of ``mixed`` alone.
    request : Request
        Further sizes.

    Raises
    ------
    ConfigError
        If the kind is unknown, or a size is out of range.
    """
    context = request.context_len
    if request.lengths is not None:
        return _of_lengths(kind, batch, seq_len, request.lengths, context)
    if kind == "prefill":
        return prefill(batch, seq_len, context_len=context)
    if kind == "decode":
        return decode(batch, seq_len, context_len=context)
    if kind == "mixed":
        return mixed([SequenceGroup(1, seq_len), SequenceGroup(batch, 1, seq_len)])
    if kind == "forward":
        images = getattr(family(model.family), "INPUT", "tokens") == "image"
        return forward(
            batch, 1 if images else seq_len,
            extent=extent_of(model, request), context_len=context,
        )  # fmt: skip
    raise ConfigError(f"unknown phase `{kind}`", path="phase", hint=nearest(kind, PHASES))


def _of_lengths(
    kind: str, batch: int, seq_len: int, lengths: Lengths, context_len: int | None
) -> Phase:
    """Return the pass over sequences of different lengths, a group of those that are equal."""
    if kind == "prefill":
        prompts = grouped(prompt_lengths(lengths, batch)).items()
        groups = tuple(SequenceGroup(count, length) for length, count in prompts)
        return Phase("prefill", groups, None, context_len)
    if kind not in ("decode", "mixed"):
        raise ConfigError(
            f"`{kind}` takes sequences of one length", path="workload.lengths",
            hint="lengths are of decode, prefill and mixed",
        )  # fmt: skip
    cached = grouped(cached_lengths(lengths, batch)).items()
    groups = tuple(SequenceGroup(count, 1, length) for length, count in cached)
    if kind == "mixed":
        return mixed([SequenceGroup(1, seq_len), *groups])
    return Phase("decode", groups, None, context_len)
