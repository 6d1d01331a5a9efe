"""The shipped cascades compute what they are named after, element by element, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import product

import numpy as np
import pytest

from accelsim.errors import ConfigError, GraphError
from accelsim.workload import forward, load_model, totals, validate, workload
from accelsim.workload.cascade import cascade_of
from accelsim.workload.families._einsum_config import EinsumConfig, rank_sizes
from accelsim.workload.families._einsum_text import Call, Index, Reference, Statement, parse

Array = np.ndarray
Coordinates = tuple[int, ...]

LN2 = math.log(2)
FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "*": lambda *x: math.prod(x),
    "+": lambda *x: sum(x),
    "max": max,
    "sub": lambda a, b: a - b,
    "div": lambda a, b: a / b,
    "exp": math.exp,
    "rsqrt": lambda x: x**-0.5,
    "reciprocal": lambda x: 1 / x,
    "pow2": lambda x: 2.0**x,
    "exp_exponent": lambda x: float(round(x / LN2)),
    "exp_mantissa": lambda x: math.exp(x - round(x / LN2) * LN2),
}
REDUCE: Mapping[str, Callable[[list[float]], float]] = {
    "sum": sum, "*": sum, "max": max, "mean": lambda x: sum(x) / len(x),
}  # fmt: skip


class Evaluator:
    """Computes single elements of a cascade by its statements, each once."""

    def __init__(
        self,
        config: EinsumConfig,
        sizes: Mapping[str, int],
        inputs: Mapping[str, Array],
        initial: Mapping[str, float],
        scales: Mapping[str, Callable[[float, Mapping[str, int]], float]],
    ) -> None:
        self.sizes, self.inputs, self.initial, self.scales = sizes, inputs, initial, scales
        found = [parse(step.einsum or "") for step in config.einsums]
        self.made = {one.made.tensor: one for one in found}
        self.element = lru_cache(maxsize=None)(self._element)

    def whole(self, tensor: str) -> Array:
        ranks = self.made[tensor].made.ranks
        shape = tuple(self.sizes[rank] for rank in ranks)
        return np.array([self.element(tensor, at) for at in np.ndindex(*shape)]).reshape(shape)

    def _element(self, tensor: str, at: Coordinates) -> float:
        if tensor in self.inputs:
            return float(self.inputs[tensor][at])
        one = self.made[tensor]
        where: dict[str, int] = {}
        for index, coordinate in zip(one.made.indices, at, strict=True):
            if coordinate < index.offset:
                return self.initial.get(tensor, 0.0)
            where[str(index.rank)] = coordinate - index.offset
        gone = [
            r for r in dict.fromkeys(r for o in one.operands for r in o.ranks) if r not in where
        ]
        points = [
            self._call(one, {**where, **dict(zip(gone, some, strict=True))})
            for some in product(*(range(self.sizes[rank]) for rank in gone))
        ]
        return REDUCE[one.function](points) if gone else points[0]

    def _call(self, one: Statement, where: Mapping[str, int]) -> float:
        body = one.body
        if body.function == "scale":
            return self.scales[one.made.tensor](self._value(body.arguments[0], where), where)
        if body.function in REDUCE and len(body.arguments) == 1:
            return self._value(body.arguments[0], where)
        return self._value(body, where)

    def _value(self, one: Reference | Call, where: Mapping[str, int]) -> float:
        if isinstance(one, Call):
            return FUNCTIONS[one.function](*(self._value(a, where) for a in one.arguments))
        maker = self.made.get(one.tensor)
        at = tuple(self._coordinate(i, where, maker, n) for n, i in enumerate(one.indices))
        return self.element(one.tensor, at)

    def _coordinate(
        self, index: Index, where: Mapping[str, int], maker: Statement | None, place: int
    ) -> int:
        if index.last:
            assert maker is not None
            made = maker.made.indices[place]
            return self.sizes[str(made.rank)] - 1 + made.offset
        return sum(n * where[rank] for n, rank in index.terms) + index.offset


ATTENTION = {"b": 2, "h": 1, "p": 3, "e": 4, "f": 2}
PLAIN, PARTS = ATTENTION | {"m": 6}, ATTENTION | {"m1": 3, "m0": 2}


def evaluated(
    name: str, sizes: Mapping[str, int], inputs: Mapping[str, Array], made: str, **more: object
) -> Array:
    spec = load_model(name, {f"parameters.shape.{rank}": n for rank, n in sizes.items()})
    initial = {"RM": -math.inf, "NS": -math.inf, "M": -math.inf}
    scales: dict[str, Callable[[float, Mapping[str, int]], float]] = more.get("scales", {})  # type: ignore[assignment]
    return Evaluator(spec.parameters, sizes, inputs, initial, scales).whole(made)


def reference_softmax(x: Array) -> Array:
    terms = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(terms / terms.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("attention-3-pass", "bhpf"),
        ("attention-2-pass", "bhpf"),
        ("attention-2-pass-local", "bhpf"),
        ("attention-1-pass", "bhfp"),
    ],
)
def test_the_attention_cascades_are_attention(name: str, order: str) -> None:
    """All four give softmax(Q K) V of the same keys, whatever their partition."""
    draw = np.random.default_rng(7)
    q, k, v = (draw.normal(size=(2, 1, n, w)) * 3 for n, w in ((3, 4), (6, 4), (6, 2)))
    parted = "BK" in load_model(name).parameters.einsums[0].einsum
    inputs = {"Q": q, "K": k, "V": v}
    if parted:
        inputs = {"Q": q, "BK": k.reshape(2, 1, 3, 2, 4), "BV": v.reshape(2, 1, 3, 2, 2)}
    found = evaluated(name, PARTS if parted else PLAIN, inputs, "AV")
    wanted = reference_softmax(q @ k.swapaxes(-1, -2)) @ v
    if order == "bhfp":
        found = found.swapaxes(-1, -2)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("name", ["softmax-3-pass", "softmax-2-pass", "softmax-online"])
def test_the_softmax_cascades_are_softmax(name: str) -> None:
    """Also where e^x itself would overflow."""
    x = np.random.default_rng(3).normal(size=(2, 9)) * 20 + 700
    found = evaluated(name, {"r": 2, "n": 9}, {"X": x}, "Y")
    np.testing.assert_allclose(found, reference_softmax(x), rtol=1e-9)


@pytest.mark.parametrize("name", ["layernorm-centred", "layernorm-squares", "layernorm-welford"])
def test_the_norm_cascades_are_layer_norm(name: str) -> None:
    """By definition, by squares and by Welford's recurrence; ``scale`` divides by counts."""
    x, g, b = np.random.default_rng(5).normal(size=(2, 6)), np.arange(6.0), np.ones(6)
    scales = {"DN": lambda v, at: v / (at["c"] + 1), "V": lambda v, _: v / 6}
    found = evaluated(name, {"r": 2, "c": 6}, {"X": x, "G": g, "B": b}, "Y", scales=scales)
    wanted = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) * g + b
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- the language


@pytest.mark.parametrize(
    "text",
    [
        "RM[m1 + 1, p] = max(RM[m1, p], LM[m1, p])",
        "AV[f, p] = div(RNV[end, f, p], RD[end, p])",
        "X[p] = relu(Y[0, p])",
    ],
)
def test_running_and_fixed_indices_print_as_they_are_written(text: str) -> None:
    """Offsets, the last coordinate and a number."""
    found = parse(text)
    arguments = ", ".join(map(str, found.operands))
    assert f"{found.made} = {found.function}({arguments})" == text
    assert found.made.running == ("m1" if "m1 +" in text else "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Z[m] = A[m] - B[m] - C[m]", "statements apart"),
        ("Z[m] = A[m] * B[m] + C[m]", "statements apart"),
        ("Z[end] = A[m]", "a rank alone"),
        ("Z[m + 1, n + 1] = A[m, n]", "a rank alone, or one rank and its step"),
        ("Z[m] = exp(A[m]", "`\\)` is expected at column 16"),
    ],
)
def test_what_is_no_statement_is_refused(text: str, said: str) -> None:
    """With what was expected, and where."""
    with pytest.raises(GraphError, match=said):
        parse(text)


def config(*einsums: str, **shape: int) -> EinsumConfig:
    sizes = {"m": 4, "k": 3, "n": 2} | shape
    return EinsumConfig.model_validate({"shape": sizes, "einsums": list(einsums)})


@pytest.mark.parametrize(
    ("einsums", "said"),
    [
        (["Z[m] = exp(A[m, k])"], "the rank `k`, the result has not"),
        (["Z[m] = exp(Y[m])", "Y[m] = exp(A[m])"], r"`Y\[m\]` is read before `Y\[m\]` is made"),
        (["Z[m] = exp(A[m])", "Z[m] = relu(A[m])"], "two statements make `Z`"),
        (["Y[m] = exp(A[m])", "Z[m, k] = B[m, k] + Y[m, k]"], r"`Y\[m, k\]` has not the 1 dim"),
        (["Y[m] = exp(A[m])", "Z[k] = A[k] + Y[end]"], "`end` stands for the rank along which"),
        (["Z[q] = exp(A[q])"], "rank `q` has no size"),
    ],
)
def test_a_cascade_that_cannot_be_is_refused(einsums: list[str], said: str) -> None:
    """The error names the tensor or the rank."""
    with pytest.raises(ConfigError, match=said):
        cascade_of(config(*einsums))


def test_a_partition_must_cover_its_rank() -> None:
    """Its parts are ranks, and their product is the rank's size where that is given."""
    given = {
        "shape": {"m": 8, "m1": 2, "m0": 3},
        "einsums": ["Z[m1] = sum(A[m1, m0])", "Y[m] = X[m]"],
    }
    with pytest.raises(ConfigError, match="partition of `m`: 2 x 3 is not 8"):
        cascade_of(EinsumConfig.model_validate(given | {"partitions": {"m": ["m1", "m0"]}}))
    with pytest.raises(ValueError, match="two or more ranks"):
        EinsumConfig.model_validate(given | {"partitions": {"m": ["m1", "q"]}})


def test_operations_per_point_are_those_of_the_paper() -> None:
    """As in FuseMax's artifact, but the exponential and its difference apart."""
    found = {one.name: one.operations for one in cascade_of("attention-1-pass").einsums}
    assert found == {
        "QK": ("mac",), "LM": ("max",), "RM": ("max",), "SLN": ("sub", "exp"),
        "PRM": ("sub", "exp"), "SPD": ("mul",), "SLD": ("add",), "RD": ("add",),
        "SPNV": ("mul",), "SLNV": ("mac",), "RNV": ("add",), "AV": ("div",),
    }  # fmt: skip


def test_points_are_the_iteration_spaces() -> None:
    """By hand, for BERT-base, 64 sequences of 4096 tokens in parts of 256."""
    found = cascade_of("attention-1-pass", forward(64, 4096))
    pairs = 64 * 12 * 4096**2
    expected = {"QK": pairs * 64, "LM": pairs, "RM": pairs // 256, "SPNV": pairs // 256 * 64,
                "SLNV": pairs * 64, "AV": 64 * 12 * 4096 * 64}  # fmt: skip
    assert {name: found.points(name) for name in expected} == expected
    assert found.einsum("QK").ranks == ("b", "h", "m1", "m0", "p", "e")
    assert (found.einsum("QK").reduced, found.einsum("RM").running) == (("e",), "m1")
    assert (found.inputs, found.outputs) == (("Q", "BK", "BV"), ("AV",))
    assert found.tensors["BK"].shape == (64, 12, 16, 256, 64)
    assert found.tensors["BK"].size_bytes == 2 * 64 * 12 * 4096 * 64
    assert [one.name for one in found.readers("SLN")] == ["SLD", "SLNV"]
    assert found.maker("RM") == found.einsum("RM")
    assert found.maker("Q") is None
    with pytest.raises(GraphError, match="no Einsum `SM`; it has QK, LM"):
        found.einsum("SM")


def test_a_group_of_einsums_is_a_cascade_of_its_own() -> None:
    """What crosses its edge comes in or leaves; the rest stays between."""
    whole = cascade_of("attention-3-pass", forward(2, 64))
    softmax = whole.part(["A", "SN", "SD", "GM"])
    assert [one.name for one in softmax.einsums] == ["GM", "SN", "SD", "A"]
    assert (softmax.inputs, softmax.outputs) == (("QK",), ("A",))
    assert set(softmax.sizes) == {"b", "h", "p", "m"}
    first = cascade_of("attention-1-pass", forward(2, 256)).part(["QK", "LM"])
    assert (first.outputs, first.partitions) == (("QK", "LM"), {"m": ("m1", "m0")})
    with pytest.raises(GraphError, match="no Einsum `AW`"):
        whole.part(["AW"])


@pytest.mark.parametrize(
    "name", ["attention-3-pass", "attention-2-pass", "attention-2-pass-local", "attention-1-pass"]
)
def test_the_workload_does_the_same_products(name: str) -> None:
    """MACs of the graph are those of the cascade, and of any attention."""
    graph = validate(workload(name, forward(2, 512)))
    macs = totals(graph).macs
    assert macs == pytest.approx(2 * 12 * 512**2 * 128, rel=1e-4)
    assert cascade_of(name, forward(2, 512)).operations()["mac"] == macs
    kinds = {operator.kind for _, operator in graph.operators()}
    assert kinds == {"matmul", "elementwise", "reduce"}


def test_softmax_and_norm_are_written_out() -> None:
    """As maximum, exponential, sum and division; as squares, root and products."""
    found = cascade_of(config("P[m, k] = softmax(S[m, k])", "Z[m, k] = rmsnorm(P[m, k], W[k])"))
    assert [one.name for one in found.einsums] == [
        "P.max", "P.exp", "P.sum", "P", "Z.square", "Z.root", "Z.unit", "Z",
    ]  # fmt: skip
    over = EinsumConfig.model_validate(
        {
            "shape": {"m": 4, "k": 3},
            "einsums": [{"einsum": "P[m, k] = softmax(S[m, k])", "over": "m"}],
        }
    )
    assert cascade_of(over).einsum("P.max").reduced == ("m",)


def test_steps_that_repeat_count_their_times() -> None:
    """Their Einsums stand once, and their points are those of all repetitions."""
    repeated = EinsumConfig.model_validate(
        {
            "shape": {"m": 4, "k": 3},
            "einsums": [
                "Y[m, k] = relu(X[m, k])",
                {"repeat": 5, "carry": {"Y": "Z"}, "steps": ["Z[m, k] = exp(Y[m, k])"]},
            ],
        }
    )
    found = cascade_of(repeated)
    assert (found.points("Y"), found.points("Z"), found.einsum("Z").times) == (12, 60, 5)


def test_nested_functions_are_operators_of_their_own_in_the_graph() -> None:
    """A sum of exponentials of differences is three operators, as the cascade has operations."""
    one = config("S[m] = sum(exp(A[m, k] - B[m]))")
    assert cascade_of(one).einsum("S").operations == ("sub", "exp", "add")
    graph = validate(workload_of(one))
    assert [o.kind for _, o in graph.operators()] == ["elementwise", "elementwise", "reduce"]
    assert totals(graph).vector_ops == 12 + 12 + 8


def test_a_running_tensor_that_starts_from_nothing_is_refused() -> None:
    """The graph has no operator without an operand."""
    with pytest.raises(ConfigError, match="follows from earlier steps alone"):
        workload_of(config("R[m + 1] = exp(R[m])"))


def test_sizes_follow_the_pass_and_parts_must_divide_it() -> None:
    """256 keys in a part, fewer where there are fewer; 300 are no whole number of parts."""
    shape = load_model("attention-1-pass").parameters
    assert rank_sizes(shape, forward(1, 64))["m1"] == 1
    with pytest.raises(ConfigError, match=r"shape\.m1.*no whole number"):
        cascade_of("attention-1-pass", forward(1, 300))


def workload_of(given: EinsumConfig):  # type: ignore[no-untyped-def]
    from accelsim.workload.families.einsum import build

    return build(given, forward(1))
