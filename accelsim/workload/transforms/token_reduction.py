"""Token reduction: layers pass fewer tokens on than they got, by pruning or merging."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Final, Literal

from accelsim.config import Fraction, Whole
from accelsim.errors import GraphError
from accelsim.workload.graph import Block, Operator, Workload
from accelsim.workload.tensor import Role, Tensor
from accelsim.workload.transforms._rewrite import with_note
from accelsim.workload.transforms._transform import Transform

__all__ = ["TRANSFORM", "TokenReduction"]


class TokenReduction(Transform):
    """Removes tokens of each sequence after given layers of a network without a cache.

    Notes
    -----
    Merging r tokens per layer compares every second token with every other: a product of half by
    half the tokens over a head's width (ToMe computes it from the keys), label ``token_merge``.
    Pruning keeps a share by scores that the attention has computed; a gather moves what is kept.
    Blocks after the layers read the shorter stream.
    """

    paper: ClassVar[str] = "ToMe, arXiv 2210.09461: 8 tokens merged in every layer of ViT-L"

    kind: Literal["token_reduction"] = "token_reduction"
    block: str = "layers"
    """Counted block whose layers lose tokens."""
    merged: Whole = 8
    """Tokens merged away in every layer."""
    kept: Fraction = 1.0
    """Share of the tokens kept after each layer of `after`."""
    after: tuple[Whole, ...] = ()
    """Layers, from 0, after which the others are pruned."""

    def lengths(self, tokens: int, layers: int) -> list[int]:
        """Return the tokens that each layer sees, and at the end those that are left.

        Examples
        --------
        >>> TokenReduction(merged=8).lengths(197, 4)
        [197, 189, 181, 173, 165]
        """
        found = [tokens]
        for layer in range(layers):
            # A merge takes at most half of the tokens.
            left = found[-1] - min(self.merged, found[-1] // 2)
            if layer in self.after:
                left = max(1, round(left * self.kept))
            found.append(max(1, left))
        return found

    def apply(self, workload: Workload) -> Workload:
        """Return the pass with shrinking layers.

        Raises
        ------
        GraphError
            If there is no such counted block, it attends over a cache, or rows do not follow the
            tokens.
        """
        names = [block.name for block in workload.blocks]
        if self.block not in names:
            raise GraphError(
                f"{workload.name} has no block `{self.block}`; it has {', '.join(names)}"
            )
        at = names.index(self.block)
        whole = workload.blocks[at]
        attention = next((o for o in whole.operators if o.kind == "attention"), None)
        if attention is None or whole.tensors[attention.inputs[1]].role is Role.KV_CACHE:
            raise GraphError(f"{workload.name}: `{self.block}` attends over no stream of tokens")
        lengths = self.lengths(attention.dims["q_len"], whole.count)
        blocks = list(workload.blocks[:at])
        for layer in range(whole.count):
            body = _scaled(whole, lengths[0], lengths[layer], f"{self.block}.{layer}")
            blocks.append(self._reduced(body, attention, lengths[layer], lengths[layer + 1]))
        blocks += [_scaled(b, lengths[0], lengths[-1], b.name) for b in workload.blocks[at + 1 :]]
        text = f"{lengths[0]} to {lengths[-1]} tokens over {whole.count} layers"
        return with_note(replace(workload, blocks=tuple(blocks)), "token_reduction", text)

    def _reduced(self, block: Block, attention: Operator, before: int, after: int) -> Block:
        """Return one layer, with what removes tokens at its end."""
        stream, made = next(iter(block.carry.items()))
        if before == after:
            return block
        tensors, operators = dict(block.tensors), list(block.operators)
        old = tensors[made]
        images = attention.dims["batch"]
        columns = old.elements // (images * before)
        scores = f"{made}.match"
        if self.merged:
            half, width = before // 2, attention.dims["head_dim"]
            key = attention.inputs[1]
            tensors[scores] = Tensor(scores, (images, half, half), old.dtype, Role.ACTIVATION)
            dims = {"batch": images, "m": half, "n": half, "k": width}
            operators.append(
                Operator(scores, "matmul", dims, (key, key), (scores,), "token_merge")
            )
        less = f"{made}.reduced"
        tensors[less] = replace(old, name=less, shape=(images * after, columns))
        inputs = (made,)
        dims = {"rows": images * after, "columns": columns, "table_rows": images * before}
        operators.append(Operator(less, "gather", dims, inputs, (less,), "token_merge"))
        if self.merged:
            # The match decides which rows are merged: the choice is a small reduction of it.
            chosen = f"{made}.chosen"
            tensors[chosen] = Tensor(chosen, (images * (before // 2),), old.dtype, Role.ACTIVATION)
            size = {"rows": images * (before // 2), "columns": 1, "terms": before // 2}
            operators.insert(
                -1,
                Operator(chosen, "reduce", size, (scores,), (chosen,), "token_merge", None,
                         {"function": "max"}),
            )  # fmt: skip
        return replace(
            block,
            operators=tuple(operators),
            tensors=tensors,
            carry={**block.carry, stream: less},
            shared=block.shared | ({f"{made}.chosen"} if self.merged else frozenset()),
        )


def _scaled(block: Block, before: int, after: int, name: str) -> Block:
    """Return a body that repeats once, with rows in the proportion of the tokens."""
    count = 1 if name != block.name else block.count
    if before == after:
        return replace(block, name=name, count=count)
    tensors = {n: _shrunk(t, before, after) for n, t in block.tensors.items()}
    operators = tuple(
        replace(o, dims={k: _size(k, v, before, after) for k, v in o.dims.items()})
        for o in block.operators
    )
    return replace(block, name=name, count=count, tensors=tensors, operators=operators)


_ROWS: Final = frozenset({"m", "rows", "q_len", "kv_len", "table_rows", "tokens"})
"""Dims that count tokens."""


def _size(dim: str, size: int, before: int, after: int) -> int:
    if dim == "size_bytes":
        return -(-size * after // before)
    return size // before * after if dim in _ROWS and size % before == 0 else size


def _shrunk(tensor: Tensor, before: int, after: int) -> Tensor:
    if tensor.role is Role.WEIGHT or not tensor.shape or tensor.shape[0] % before:
        return tensor
    return replace(tensor, shape=(tensor.shape[0] // before * after, *tensor.shape[1:]))


TRANSFORM: Final = TokenReduction
