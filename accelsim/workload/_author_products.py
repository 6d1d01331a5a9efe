"""The matrix products of the Python builder: linear layers, experts, batches, attention."""

from __future__ import annotations

import math
from typing import Any

from accelsim.workload._author_core import Core
from accelsim.workload._author_value import Value, broadcast, rows_columns
from accelsim.workload.tensor import Role

__all__ = ["Products"]


class Products(Core):
    """Linear layers, products of matrices and attention."""

    def linear(
        self,
        x: Value,
        features: int,
        *,
        bias: bool | Value = False,
        weight: Value | None = None,
        name: str = "linear",
        label: str = "linear",
        shard: str | None = None,
    ) -> Value:
        """Add a linear layer over the last dimension.

        Parameters
        ----------
        x : Value
            Of shape (..., k).
        features : int
            Columns of the result.
        bias : bool or Value
            Add one weight per column, or these.
        weight : Value, optional
            One that another operator uses, too (tied embeddings), of ``features * k`` elements.
        name, label, shard : str
            See `Operator`.

        Raises
        ------
        GraphError
            If the weight does not fit.
        """
        name = self.called(name)
        m, k = rows_columns(x.shape)
        if weight is None:
            weight = self.weight(f"{name}.weight", (features, k))
        elif weight.elements != features * k:
            raise self.error(
                "linear", name, f"weight {weight} is not of {features} x {k} elements"
            )
        inputs = [self.whole(x), weight]
        if bias is not False:
            inputs.append(self.vector(f"{name}.bias", features) if bias is True else bias)
        y = self.made(name, (*x.shape[:-1], features), x.dtype)
        dims = {"batch": 1, "m": m, "n": features, "k": k}
        self.operator(name, "matmul", dims, inputs, (y,), label=label, shard=shard)
        return y

    def matmul(self, a: Value, b: Value, *, name: str = "matmul", label: str = "") -> Value:
        """Add a product of matrices, ``a @ b``: the last two dimensions, batched over the others.

        A matrix that all products share makes one product of all rows; if it is a weight, that is
        a linear layer.
        """
        name = self.called(name)
        if len(a.shape) < 2 or len(b.shape) < 2 or a.shape[-1] != b.shape[-2]:
            raise self.error("matmul", name, f"{a} and {b} are not (.., m, k) and (.., k, n)")
        try:
            batch = broadcast(a.shape[:-2], b.shape[:-2])
        except ValueError:
            raise self.error("matmul", name, f"batches of {a} and {b} do not fit") from None
        y = self.made(name, (*batch, a.shape[-2], b.shape[-1]), a.dtype)
        left, right, m, n = a, b, a.shape[-2], b.shape[-1]
        if a.role is Role.WEIGHT and b.role is not Role.WEIGHT:
            left, right, m, n = b, a, n, m  # the transposed product, since B is the weight
        products = math.prod(batch)
        if math.prod(right.shape[:-2]) == 1:
            products, m = 1, products * m
        weighted = right.role is Role.WEIGHT
        left = self._batched(left, batch, products, whole=weighted)
        right = self._batched(right, batch, products, whole=weighted)
        dims = {"batch": products, "m": m, "n": n, "k": a.shape[-1]}
        label = label or ("linear" if weighted else "matmul")
        self.operator(name, "matmul", dims, (left, right), (y,), label=label)
        return y

    def _batched(self, x: Value, batch: tuple[int, ...], products: int, *, whole: bool) -> Value:
        """Return an operand with the whole batch, copied if it is broadcast over it."""
        if products > 1:
            x = self.expand(x, (*batch, *x.shape[-2:]))
        return self.whole(x) if whole or x.distinct < x.elements else x

    def experts(
        self,
        x: Value,
        features: int,
        *,
        experts: int,
        active: int,
        top_k: int,
        name: str = "experts",
    ) -> Value:
        """Add a linear layer whose rows are spread over several weights.

        Parameters
        ----------
        x : Value
            Rows as `gather` dispatched them: ``tokens * top_k`` of them.
        features : int
            Columns of the result.
        experts, active, top_k : int
            Weights, those that this pass reads, and those that one token uses.
        """
        name = self.called(name)
        m, k = rows_columns(x.shape)
        dtype = self.dtypes.experts or self.dtypes.weight
        weight = self.weight(f"{name}.weight", (experts, features, k), dtype)
        self._idle[weight.tensor] = (experts - top_k) * features * k
        y = self.made(name, (*x.shape[:-1], features), x.dtype)
        dims = {"batch": 1, "m": m, "n": features, "k": k}
        dims |= {"experts": experts, "active_experts": active}
        self.operator(name, "matmul", dims, (self.whole(x), weight), (y,), label="experts")
        return y

    def attention(
        self,
        q: Value,
        k: Value,
        v: Value,
        *,
        heads: int = 0,
        kv_heads: int = 0,
        causal: bool = False,
        window: int = 0,
        bias: Value | None = None,
        name: str = "attention",
    ) -> Value:
        """Add scaled dot-product attention; the result has the layout of `q`.

        Parameters
        ----------
        q, k, v : Value
            Of shape (batch, tokens, heads * width), with `heads`, or (batch, heads, tokens,
            width).  Keys and values may have fewer heads.
        heads, kv_heads : int
            Where the shapes do not say; as many KV heads as heads unless given.
        causal : bool
            New tokens are the last of those attended, and see none after themselves.
        window : int
            How many tokens a token sees, if not all.
        bias : Value, optional
            Added to the scores: one value per head and pair.

        Raises
        ------
        GraphError
            If shapes or heads do not fit each other.
        """
        name = self.called(name)
        dims, shape = self._attention_dims(name, (q, k, v), heads, kv_heads)
        y = self.made(name, shape, q.dtype)
        attributes: dict[str, Any] = {"causal": causal} | ({"window": window} if window else {})
        inputs = [q, k, v]
        if bias is not None:
            inputs.append(bias)
            attributes["bias"] = True
        self.operator(
            name, "attention", dims, inputs, (y,),
            label="attention", shard="heads", attributes=attributes,
        )  # fmt: skip
        return y

    def _attention_dims(
        self, name: str, operands: tuple[Value, Value, Value], heads: int, kv_heads: int
    ) -> tuple[dict[str, int], tuple[int, ...]]:
        q, k, v = operands
        ranks = {len(x.shape) for x in operands}
        if ranks == {4}:
            heads, kv_heads = heads or q.shape[1], kv_heads or _kv_heads(k)
            sizes = [(x.shape[0], x.shape[2], x.shape[3]) for x in operands]
            shape = (*q.shape[:3], v.shape[3])
        elif ranks == {3} and heads:
            kv_heads = kv_heads or heads
            over = (heads, kv_heads, kv_heads)
            if any(x.shape[2] % n for x, n in zip(operands, over, strict=True)):
                raise self.error("attention", name, f"{over} heads do not divide {q}, {k}, {v}")
            sizes = [
                (x.shape[0], x.shape[1], x.shape[2] // n)
                for x, n in zip(operands, over, strict=True)
            ]
            shape = (*q.shape[:2], heads * sizes[2][2])
        else:
            raise self.error(
                "attention", name,
                f"{q}, {k}, {v} are neither (batch, heads, tokens, width) nor, with heads=,"
                " (batch, tokens, heads * width)",
            )  # fmt: skip
        (batch, new, width), (_, attended, key), (_, valued, value) = sizes
        if width != key or attended != valued or len({size[0] for size in sizes}) > 1:
            raise self.error("attention", name, f"{q}, {k} and {v} do not fit each other")
        dims = {
            "batch": batch, "heads": heads, "kv_heads": kv_heads, "q_len": new,
            "kv_len": attended, "head_dim": width, "value_dim": value,
        }  # fmt: skip
        return dims, shape


def _kv_heads(k: Value) -> int:
    """Return the heads of keys whose copies for every query head may be a broadcast."""
    batch, heads, tokens, width = k.shape
    return max(1, min(heads, k.distinct // (batch * tokens * width)))
