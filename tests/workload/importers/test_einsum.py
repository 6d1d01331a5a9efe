"""Einsums over named ranks become the operators that they are; errors name line and rank."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.errors import ConfigError, GraphError
from accelsim.workload import Dtypes, Workload, decode, forward, prefill, totals, validate
from accelsim.workload.families._einsum_text import parse
from accelsim.workload.families.einsum import (
    EinsumConfig,
    active_parameter_count,
    build,
    parameter_count,
)
from accelsim.workload.graph import Operator
from accelsim.workload.importers._contraction import contraction
from accelsim.workload.importers.einsum import from_einsum
from accelsim.workload.phase import Phase


def imported(folder: Path, text: str, phase: Phase | None = None) -> Workload:
    path = folder / "net.yaml"
    path.write_text(text)
    return validate(from_einsum(path, phase))


def only(found: Workload, kind: str) -> Operator:
    (operator,) = (operator for _, operator in found.operators() if operator.kind == kind)
    return operator


def one(einsum: str, shape: dict[str, int], **tensors: dict[str, object]) -> Workload:
    config = EinsumConfig.model_validate({"shape": shape, "tensors": tensors, "einsums": [einsum]})
    return validate(build(config, forward(1)))


_SIZES = {"b": 2, "h": 3, "m": 4, "n": 5, "k": 7, "p": 14, "q": 14, "r": 3, "s": 3, "c": 8}
_WEIGHT = {"role": "weight"}


@pytest.mark.parametrize(
    ("einsum", "dims"),
    [
        ("Z[b, m, n] = A[b, m, k] * B[b, k, n]", {"batch": 2, "m": 4, "n": 5, "k": 7}),
        ("Z[b, h, m, n] = A[b, h, m, k] * B[b, h, n, k]", {"batch": 6, "m": 4, "n": 5, "k": 7}),
        ("Z[m, n] = A[m, k] * W[n, k]", {"batch": 1, "m": 4, "n": 5, "k": 7}),
        ("Z[b, m, n] = A[b, m, k] * W[k, n]", {"batch": 1, "m": 8, "n": 5, "k": 7}),
        ("Z[m, n] = W[n, k] * A[m, k]", {"batch": 1, "m": 4, "n": 5, "k": 7}),
        ("Z[h, m, n] = A[m, h, k] * W[h, k, n]", {"batch": 3, "m": 4, "n": 5, "k": 7}),
        ("Z[m] = A[m, k] * B[k]", {"batch": 1, "m": 4, "n": 1, "k": 7}),
    ],
)
def test_products_have_the_dims_of_their_ranks(einsum: str, dims: dict[str, int]) -> None:
    """Ranks of all three are the batch, of two the rows and columns, summed ones are k."""
    found = one(einsum, _SIZES, W=_WEIGHT)
    assert dict(only(found, "matmul").dims) == dims
    assert totals(found).macs == dims["batch"] * dims["m"] * dims["n"] * dims["k"]


@pytest.mark.parametrize(
    ("einsum", "dims"),
    [
        (
            "O[b, m, p, q] = I[b, c, p + r, q + s] * W[m, c, r, s]",
            {"batch": 2, "groups": 1, "in_channels": 8, "out_channels": 4, "in_height": 16},
        ),
        (
            "O[b, c, p, q] = I[b, c, 2 * p + r, 2q + s] * W[c, r, s]",
            {"groups": 8, "in_channels": 1, "out_channels": 1, "in_width": 29, "out_width": 14},
        ),
        (
            "O[b, m, p] = W[m, c, r] * I[b, c, r + p]",
            {"in_height": 1, "in_width": 16, "kernel_width": 3, "kernel_height": 1},
        ),
        ("O[b, m, p] = I[b, c, p + 2 * r] * W[m, c, r]", {"in_width": 18, "kernel_width": 3}),
    ],
)
def test_affine_indices_make_convolutions(einsum: str, dims: dict[str, int]) -> None:
    """A sum of a rank of the result and one of the kernel is a window; factors are strides."""
    found = one(einsum, _SIZES, W=_WEIGHT)
    operator = only(found, "conv")
    assert {name: operator.dims[name] for name in dims} == dims


@pytest.mark.parametrize(
    ("einsum", "kind", "function"),
    [
        ("Z[m] = A[m, k]", "reduce", "sum"),
        ("Z[m] = max(A[m, k])", "reduce", "max"),
        ("Z[m, n] = A[m, n] + B[n]", "elementwise", "add"),
        ("Z[m, n] = A[m, n] * B[m]", "elementwise", "mul"),
        ("Z[m, n] = gelu(A[n, m])", "elementwise", "gelu"),
        ("Z[m, n] = softmax(A[m, n])", "softmax", None),
        ("Z[m, n] = rmsnorm(A[m, n], W[n])", "norm", "rmsnorm"),
        ("Z[k, m] = A[m, k]", "transfer", None),
    ],
)
def test_other_statements_are_functions(einsum: str, kind: str, function: str | None) -> None:
    """Sums over ranks, functions of elements and of rows, and copies."""
    operator = only(one(einsum, _SIZES, W=_WEIGHT), kind)
    assert operator.attributes.get("function") == function


def test_several_operands_multiply_from_left_to_right() -> None:
    """A product of three is two products; ranks that are needed later stay."""
    found = one("Z[m, n] = A[m, k] * B[k, h] * C[h, n]", _SIZES)
    dims = [dict(o.dims) for _, o in found.operators()]
    assert dims == [
        {"batch": 1, "m": 4, "n": 3, "k": 7},
        {"batch": 1, "m": 4, "n": 5, "k": 3},
    ]


def test_a_softmax_runs_over_the_rank_that_is_named() -> None:
    """``over`` may be any rank of the operand."""
    config = EinsumConfig.model_validate(
        {"shape": _SIZES, "einsums": [{"einsum": "Z[m, n] = softmax(A[m, n])", "over": "m"}]}
    )
    dims = only(build(config, forward(1)), "softmax").dims
    assert (dims["rows"], dims["columns"]) == (5, 4)


_ATTENTION = """
name: attention
shape: {b: batch, h: 8, q: q_len, t: kv_len, d: 64, e: 512, f: 2 * 256}
tensors:
  Wq: {role: weight, dtype: int4_g128}
  Wk: {role: weight, density: 0.5, pattern: "2:4", metadata_bits: 0.125}
  K: {role: kv_cache}
  V: {role: kv_cache}
einsums:
  - {name: q_proj, einsum: "Q[b, h, q, d] = X[b, q, e] * Wq[h, d, e]"}
  - New[b, h, q, d] = X[b, q, e] * Wk[h, d, e]
  - K[b, h, t, d] = append(New[b, h, q, d])
  - {einsum: "S[b, h, q, t] = Q[b, h, q, d] * K[b, h, t, d]", label: attention}
  - P[b, h, q, t] = softmax(S[b, h, q, t])
  - {einsum: "O[b, h, q, d] = P[b, h, q, t] * V[b, h, t, d]", label: attention}
"""


def test_sizes_follow_the_pass(tmp_path: Path) -> None:
    """Batch and lengths come from the phase; caches grow by one token per sequence."""
    found = imported(tmp_path, _ATTENTION, decode(4, 127))
    assert totals(found).macs == 2 * 4 * 512 * 512 + 2 * 4 * 8 * 128 * 64
    assert found.kv_bytes_per_token == 2 * 8 * 64 * 2
    assert totals(found).kv_write_bytes == 4 * 8 * 64 * 2
    longer = imported(tmp_path, _ATTENTION, prefill(1, 256))
    assert totals(longer).macs == 2 * 256 * 512 * 512 + 2 * 8 * 256 * 256 * 64


def test_formats_and_densities_are_those_of_the_tensors(tmp_path: Path) -> None:
    """A quantised weight and a sparse one; zeros count apart."""
    found = imported(tmp_path, _ATTENTION, decode(1, 0))
    held = found.blocks[0].tensors
    assert held["Wq"].dtype == "int4_g128"
    assert held["Wk"].size_bytes == 512 * 512 * (16 * 0.5 + 0.125) / 8
    assert totals(found).zero_macs == 512 * 512 // 2


_LAYERS = """
dtypes: {weight: fp8}
shape: {m: 16, h: 64, f: 128}
tensors: {W: {role: weight}, U: {role: weight}, T: {role: weight}}
einsums:
  - Y[m, h] = X[m, h] * T[h]
  - repeat: 12
    carry: {Y: Z}
    steps:
      - H[m, f] = Y[m, h] * W[f, h]
      - Z[m, h] = H[m, f] * U[h, f]
  - R[h] = Z[m, h]
"""


def test_steps_repeat_with_weights_of_their_own(tmp_path: Path) -> None:
    """A repeated stretch is one block; the closed form counts its weights once per repetition."""
    found = imported(tmp_path, _LAYERS)
    assert [(b.name, b.count) for b in found.blocks] == [("stem", 1), ("layers", 12), ("head", 1)]
    assert found.parameters == 64 + 12 * 2 * 64 * 128
    assert found.outputs == ("R",)
    assert found.blocks[1].tensors["W"].dtype == "fp8"


def test_the_closed_form_equals_the_graph() -> None:
    """Parameters by the ranks of the weights are those that the graph holds."""
    config = EinsumConfig.model_validate(
        {
            "shape": {"b": "batch", "m": 16, "h": 64},
            "tensors": {"W": _WEIGHT, "V": _WEIGHT},
            "einsums": [
                "Y[b, m, h] = X[b, m, h] * V[h]",
                {
                    "repeat": 3,
                    "carry": {"Y": "Z"},
                    "steps": [
                        "Q[b, m, h] = relu(Y[b, m, h])",
                        "Z[b, h, m] = Q[b, m, h] * W[m, h]",
                    ],
                },
            ],
        }
    )
    with pytest.raises(ConfigError, match="the next repetition"):
        build(config, forward(2))
    assert parameter_count(config) == active_parameter_count(config) == 64 + 3 * 16 * 64


def test_configurations_are_hashed_by_what_they_say() -> None:
    """So that built workloads are cached, as those of other families."""
    given = {"shape": {"m": 4, "k": 8}, "einsums": ["Z[m] = A[m, k]"]}
    one, other = (EinsumConfig.model_validate(given) for _ in range(2))
    assert hash(one) == hash(other)
    assert build(one, forward(1)) is build(other, forward(1))


def test_formats_of_roles_come_from_the_caller() -> None:
    """Tensors without a format have that of their role."""
    config = EinsumConfig.model_validate(
        {"shape": _SIZES, "tensors": {"W": _WEIGHT}, "einsums": ["Z[m, n] = A[m, k] * W[n, k]"]}
    )
    found = build(config, forward(1), dtypes=Dtypes(weight="int8", activation="fp16"))
    held = found.blocks[0].tensors
    assert (held["W"].dtype, held["Z"].dtype) == ("int8", "fp16")


# ---------------------------------------------------------------- errors


def file(
    einsum: str, shape: str = "{m: 4, k: 8, n: 2}", tensors: str = "{W: {role: weight}}"
) -> str:
    head = f"shape: {shape}\ntensors: {tensors}\neinsums:\n"
    return f"{head}  - Y[m, k] = relu(X[m, k])\n  - {einsum}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (file("Z[m, z] = Y[m, k] * W[k, z]"), r":5:5: einsums\.1: rank `z` has no size"),
        (file("Z[m] = Y[m, k"), r":5:5: einsums\.1: .*`,` is expected at column 14"),
        (file("Z[m] = Y[m; k]"), r":5:5: .*`;` at column 11"),
        (file("Z[2 * m] = Y[m, k]"), r":5:5: .*a rank alone"),
        (file("Z[m, n] = Y[m, k]"), r":5:5: .*`Z\[m, n\]` has a rank that `Y\[m, k\]` has not"),
        (file("Z[m] = Y[m, k] * W[n]"), r":5:5: .*`k` of one operand alone"),
        (file("Z[k] = Y[k, m]"), r":5:5: .*rank `k` is 8, but `Y` has 4 there"),
        (file("Z[m] = Y[m]"), r":5:5: .*has not the 2 ranks"),
        (file("Y[m] = X[m, k]"), r":5:5: .*`Y` is made or read before"),
        (file("Z[m, k] = rleu(Y[m, k])"), r":5:5: .*unknown function `rleu`.*relu"),
        (file("W[m, k] = relu(Y[m, k])"), r":5:5: .*no activation"),
        (file("Z[m, k] = append(Y[m, k])"), r":5:5: .*role: kv_cache"),
        (file("Z[m] = V[m + n] * U[n]"), r":5:5: .*role: weight"),
        (file("Z[m] = Y[m, k] + X[m, k] * X[m, k]"), r":5:5: .*statements apart"),
        (file("Z[m] = Y[m, k]", "{m: 4, k: 0, n: 2}"), r":1:\d+: shape\.k: `0` is 0, below 1"),
        (file("Z[m] = Y[m, k]", "{m: 4, k: bach}"), r"shape\.k: no size `bach`(.|\n)*batch"),
        (file("Z[m] = Y[m, k]", "{m: 4, k: 1.5}"), r"shape\.k.*1\.5"),
        (file("Z[m] = Y[m, k]", tensors="{W: {role: wieght}}"), r":2:\d+: tensors\.W\.role"),
        ("shape: {m: 4}\neinsums: []\n", r":1:1: no statements"),
        ("shape: {m: 4}\n", r"`einsums` is missing"),
        ("shape: {m: 4}\neinsums: [Z[m] = X[m]]\n", r"net\.yaml"),
        ("shape: {m: 4}\neinsums:\n  - {repeat: 2}\n", r":3:5: einsums\.0.*carry"),
        ("shape: {m: 4}\neinsums:\n  - {label: x}\n", r":3:5: einsums\.0.*either"),
    ],
)
def test_what_does_not_fit_is_located(text: str, said: str, tmp_path: Path) -> None:
    """The error names file, line, and the rank or tensor."""
    with pytest.raises(ConfigError, match=rf"net\.yaml(.|\n)*{said}|{said}"):
        imported(tmp_path, text)


def test_a_weight_inside_and_outside_of_steps_is_refused(tmp_path: Path) -> None:
    """It would be each repetition's own in one place and shared in the other."""
    text = _LAYERS.replace("R[h] = Z[m, h]", "R[m, f] = Z[m, h] * W[f, h]")
    with pytest.raises(ConfigError, match=r"weight `W` is each repetition's own"):
        imported(tmp_path, text)


def test_statements_print_as_they_are_written() -> None:
    """Parsing loses nothing."""
    found = parse("O[n,m,p]=I[n,c,2*p+r]*W[m,c,r]")
    assert str(found.made) == "O[n, m, p]"
    assert [str(o) for o in found.operands] == ["I[n, c, 2 * p + r]", "W[m, c, r]"]


def test_a_rank_twice_in_an_operand_is_refused() -> None:
    """A diagonal is no product."""
    with pytest.raises(GraphError, match="`i` stands twice"):
        contraction("ii", "ij", "j")


@pytest.mark.checkout
def test_the_example_is_attention() -> None:
    """Three projections of 512 x 512, and two products over the context."""
    examples = Path(__file__).resolve().parents[3] / "examples"
    found = validate(from_einsum(examples / "attention.einsum.yaml", decode(2, 1023)))
    assert totals(found).macs == 2 * 3 * 512**2 + 2 * 2 * 8 * 1024 * 64
    assert found.parameters == 3 * 512**2
    assert found.kv_bytes_per_token == 2 * 512 * 2
