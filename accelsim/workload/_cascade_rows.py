"""The statements of what works along rows: a softmax and the norms, as their usual cascades.

A softmax subtracts the maximum before it exponentiates; a norm with a mean takes it first and
then the squares of what is left, as the operator kinds count them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from accelsim.errors import GraphError

__all__ = ["norm_statements", "reference", "softmax_statements"]

_CENTRED: Final = frozenset({"layernorm", "groupnorm", "instancenorm"})
_WEIGHTS: Final = ("mul", "add")
"""What the weights of a norm do: its scale, then its shift."""


def reference(tensor: str, ranks: Sequence[str]) -> str:
    """Return the text of a tensor with its indices.

    Examples
    --------
    >>> reference("X", ("m", "n"))
    'X[m, n]'
    """
    return f"{tensor}[{', '.join(ranks)}]"


def softmax_statements(
    source: str, made: str, tensor: str, ranks: Sequence[str], over: str
) -> Iterator[str]:
    """Yield the statements of a softmax.

    Parameters
    ----------
    source, made : str
        Texts of the operand and of the result, with their indices.
    tensor : str
        Name before those of the tensors between.
    ranks : sequence of str
        Ranks of the operand.
    over : str
        The one that is normalised.

    Examples
    --------
    >>> for line in softmax_statements("S[p, m]", "A[p, m]", "A", ("p", "m"), "m"):
    ...     print(line)
    A.max[p] = max(S[p, m])
    A.exp[p, m] = exp(S[p, m] - A.max[p])
    A.sum[p] = sum(A.exp[p, m])
    A[p, m] = A.exp[p, m] / A.sum[p]
    """
    rest = [rank for rank in ranks if rank != over]
    largest, total = reference(f"{tensor}.max", rest), reference(f"{tensor}.sum", rest)
    terms = reference(f"{tensor}.exp", ranks)
    yield f"{largest} = max({source})"
    yield f"{terms} = exp({source} - {largest})"
    yield f"{total} = sum({terms})"
    yield f"{made} = {terms} / {total}"


def norm_statements(
    function: str,
    source: str,
    made: str,
    tensor: str,
    ranks: Sequence[str],
    over: str,
    weights: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the statements of a norm; the arguments are those of a softmax, and its weights.

    Raises
    ------
    GraphError
        If the statements of the function are not known.

    Examples
    --------
    >>> for line in norm_statements(
    ...     "rmsnorm", "X[r, c]", "Y[r, c]", "Y", ("r", "c"), "c", ["W[c]"]
    ... ):
    ...     print(line)
    Y.square[r] = sum(X[r, c] * X[r, c])
    Y.root[r] = rsqrt(Y.square[r])
    Y.unit[r, c] = X[r, c] * Y.root[r]
    Y[r, c] = Y.unit[r, c] * W[c]
    """
    rest = [rank for rank in ranks if rank != over]
    if function == "batchnorm":  # the statistics are constants in inference
        yield from _weighted(source, made, tensor, ranks, weights)
        return
    if function in _CENTRED:
        mean, centred = reference(f"{tensor}.mean", rest), reference(f"{tensor}.centred", ranks)
        yield f"{mean} = mean({source})"
        yield f"{centred} = {source} - {mean}"
        source = centred
    elif function not in ("rmsnorm", "l2norm"):
        raise GraphError(f"the statements of a `{function}` are not known")
    squares, root = reference(f"{tensor}.square", rest), reference(f"{tensor}.root", rest)
    unit = reference(f"{tensor}.unit", ranks) if weights else made
    yield f"{squares} = sum({source} * {source})"
    yield f"{root} = rsqrt({squares})"
    yield f"{unit} = {source} * {root}"
    if weights:
        yield from _weighted(unit, made, tensor, ranks, weights)


def _weighted(
    source: str, made: str, tensor: str, ranks: Sequence[str], weights: Sequence[str]
) -> Iterator[str]:
    """Yield the scale and the shift; further weights are constants folded into them."""
    marks = weights[: len(_WEIGHTS)]
    if not marks:
        yield f"{made} = copy({source})"
    for place, weight in enumerate(marks):
        last = place == len(marks) - 1
        step = made if last else reference(f"{tensor}.{_WEIGHTS[place]}", ranks)
        yield f"{step} = {source} {'*+'[place]} {weight}"
        source = step
