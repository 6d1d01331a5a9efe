"""Passes, traffic and footprints that follow from statements are those that papers state."""

from __future__ import annotations

import pytest

from accelsim.errors import ConfigError, GraphError
from accelsim.workload import decode, forward, workload
from accelsim.workload.cascade import Cascade, cascade_of
from accelsim.workload.families._einsum_config import EinsumConfig
from accelsim.workload.passes import Analysis, analyse, analyse_all, cheapest, unfused_words


def written(*einsums: str, **shape: int) -> Cascade:
    sizes = {"n": 16, "r": 4, "k": 8} | shape
    return cascade_of(EinsumConfig.model_validate({"shape": sizes, "einsums": list(einsums)}))


def of(model: str, rank: str, *kept: str) -> Analysis:
    return analyse(cascade_of(model, forward(2, 1024)), rank, kept)


@pytest.mark.parametrize(
    ("model", "rank", "count", "footprint"),
    [
        # FuseMax (arXiv 2406.10491): attention algorithms by their passes over the keys.
        ("attention-3-pass", "m", 3, "O(m)"),
        ("attention-2-pass", "m", 2, "O(m)"),
        ("attention-2-pass-local", "m", 2, "O(m)"),
        ("attention-1-pass", "m", 1, "O(1)"),
        # Within a part of the keys its maximum comes first, on chip.
        ("attention-1-pass", "m0", 2, "O(m0)"),
        # arXiv 2001.04438: three passes, or two; arXiv 1805.02867: two.
        ("softmax-3-pass", "n", 3, "O(n)"),
        ("softmax-2-pass", "n", 2, "O(n)"),
        ("softmax-online", "n", 2, "O(n)"),
        # Statistics in two passes or one, and one more to normalise.
        ("layernorm-centred", "c", 3, "O(c)"),
        ("layernorm-squares", "c", 2, "O(c)"),
        ("layernorm-welford", "c", 2, "O(c)"),
        ("rmsnorm", "c", 2, "O(c)"),
        ("gemv", "K", 1, "O(1)"),
    ],
)
def test_passes_are_those_of_the_literature(
    model: str, rank: str, count: int, footprint: str
) -> None:
    """And what must stay on chip grows with the rank, or does not."""
    found = of(model, rank)
    assert (found.count, found.footprint) == (count, footprint)


@pytest.mark.parametrize(
    ("einsums", "count"),
    [
        # A product of a sum needs the sum first; by associativity it does not.
        (["Y[] = A[n] * B[n]", "C[n] = A[n] * Y[]", "Z[] = sum(C[n])"], 2),
        (["Y[] = A[n] * B[n]", "X[] = sum(A[n])", "Z[] = X[] * Y[]"], 1),
        # A running sum is there step by step, its last value at the end.
        (["R[n + 1] = R[n] + A[n]", "Z[n] = A[n] * R[n + 1]"], 1),
        (["R[n + 1] = R[n] + A[n]", "Z[n] = A[n] * R[end]"], 2),
        # A sum over another rank is there along with this one.
        (["S[n] = sum(X[n, k])", "Z[n, k] = X[n, k] / S[n]"], 1),
        # A step ahead is still along the rank.
        (["R[n + 1] = R[n] + A[n]", "P[n] = A[n] * R[n]", "Z[] = sum(P[n])"], 1),
    ],
)
def test_passes_of_small_cascades(einsums: list[str], count: int) -> None:
    """By hand."""
    assert analyse(written(*einsums), "n").count == count


@pytest.mark.parametrize(
    ("model", "kept", "reads", "writes", "words"),
    [
        ("softmax-3-pass", (), 3, 1, 4),
        ("softmax-3-pass", ("E",), 3, 2, 5),
        ("softmax-2-pass", (), 2, 1, 3),
        ("softmax-online", (), 2, 1, 3),
    ],
)
def test_softmax_traffic_is_that_of_the_two_pass_paper(
    model: str, kept: tuple[str, ...], reads: int, writes: int, words: int
) -> None:
    """Words per element: 4 N recomputing, 5 N reloading, 3 N in two passes (arXiv 2001.04438)."""
    found = of(model, "n", *kept)
    elements = 2 * 2**20
    assert found.words == words * elements
    assert sum(one.reads for one in found.tensors) == reads
    assert sum(one.writes for one in found.tensors) == writes


def test_keys_are_read_once_per_pass_and_values_once() -> None:
    """Three passes read K three times, where the scores are computed again."""
    found = of("attention-3-pass", "m")
    assert [one.reads for one in found.passes] == [("K",), ("K",), ("K", "V")]
    assert (found.traffic("K").reads, found.traffic("V").reads) == (3, 1)
    once = of("attention-1-pass", "m")
    words = 2 * 12 * 1024 * 64
    assert (once.words, once.bytes) == (4 * words, 8 * words)
    assert found.words == 6 * words
    with pytest.raises(GraphError, match="`SN` is neither read nor written; Q, K"):
        found.traffic("SN")


def test_what_is_kept_is_written_once_and_read_in_its_place() -> None:
    """Scores in memory spare the keys, exponentials the scores."""
    kept = of("attention-3-pass", "m", "QK", "SN")
    assert [(p.einsums, p.reads, p.writes) for p in kept.passes] == [
        (("QK", "GM"), ("K",), ("QK",)),
        (("SN", "SD"), ("QK",), ("SN",)),
        (("A", "AV"), ("SN", "V"), ()),
    ]
    assert kept.count == 3


def test_a_value_per_part_is_kept_and_its_traversal_is_no_pass() -> None:
    """Local maxima are corrected by a visit of the parts, not of the keys."""
    found = of("attention-2-pass-local", "m")
    assert [one.full for one in found.passes] == [True, False, True]
    assert found.passes[1].reads == ("LM", "SLD")
    assert found.traffic("LM").elements == 2 * 12 * 4 * 1024
    assert (found.traffic("LM").writes, found.traffic("BK").reads) == (1, 2)


@pytest.mark.parametrize(
    ("model", "rank", "held", "state"),
    [
        # A row of scores, whether keys or scores or exponentials are nearer at hand; the maximum,
        # the sum and 64 accumulators of a row of the result.
        ("attention-3-pass", "m", 1024, 1 + 1 + 64),
        ("attention-2-pass", "m", 1024, 1 + 1 + 64),
        ("attention-1-pass", "m", 0, 1 + 1 + 64),
        ("softmax-3-pass", "n", 2**20, 2),
        ("softmax-online", "n", 2**20, 2),
    ],
)
def test_footprints_per_fibre(model: str, rank: str, held: int, state: int) -> None:
    """What must stay so that nothing is read twice, and what runs along."""
    found = of(model, rank)
    assert (found.held_words, found.state_words) == (held, state)


def test_the_least_set_is_held() -> None:
    """One vector that both later readers follow from, not the two that it follows from."""
    found = analyse(
        written(
            "C[r, n] = A[r, n] + B[r, n]", "S[r] = sum(C[r, n])", "D[r, n] = exp(C[r, n])",
            "Y[r, n] = D[r, n] / S[r]", "Z[r, n] = C[r, n] * S[r]",
        ),
        "n",
    )  # fmt: skip
    assert (found.count, found.held_words, found.fibres) == (2, 16, 4)
    assert {one.name: one.reads for one in found.tensors if one.reads} == {"A": 2, "B": 2}


def test_the_cheapest_choice_keeps_what_saves_words() -> None:
    """The sum of two vectors is kept rather than both read again; of one vector it is not."""
    two = written("C[n] = A[n] + B[n]", "S[] = sum(C[n])", "Y[n] = C[n] / S[]")
    assert (cheapest(two, "n").stored, cheapest(two, "n").words) == ((), 5 * 16)
    three = written(
        "C[n] = A[n] + B[n] + E[n]", "S[] = sum(C[n])", "D[n] = C[n] - S[]", "T[] = max(D[n])",
        "Y[n] = D[n] / T[]",
    )  # fmt: skip
    best = cheapest(three, "n")
    # Three reads, one write of C and two reads of it, the result.
    assert best.stored == ("C",)
    assert best.words == (3 + 1 + 2 + 1) * 16
    assert best.words < analyse(three, "n").words == 10 * 16


def test_a_sum_waits_for_a_pass_that_reads_its_operand_anyway() -> None:
    """B is needed in the second pass; its sum, needed in the third, is taken there too."""
    late = written(
        "S[] = sum(A[n])", "D[n] = B[n] - S[]", "T[] = max(D[n])", "U[] = max(B[n])",
        "V[] = T[] * U[]", "Y[n] = A[n] * V[]",
    )  # fmt: skip
    assert (analyse(late, "n").traffic("B").reads, cheapest(late, "n").traffic("B").reads) == (
        2,
        1,
    )
    assert analyse(late, "n", not_before={"U": 2}).words == cheapest(late, "n").words
    assert analyse(late, "n").count == cheapest(late, "n").count == 3


def test_many_candidates_are_added_one_by_one() -> None:
    """More than twelve: the search is greedy, never worse than keeping nothing."""
    lines = ["C0[n] = A[n] + B[n] + E[n]"]
    for i in range(14):
        lines += [f"S{i}[] = sum(C{i}[n])", f"C{i + 1}[n] = C{i}[n] - S{i}[]"]
    many = written(*lines)
    found, bare = cheapest(many, "n"), analyse(many, "n")
    assert found.count == bare.count == 15
    assert found.words < bare.words
    assert "C0" in found.stored


def test_unfused_words_are_those_of_each_einsum() -> None:
    """Operands and results, by hand: a softmax reads and writes its row six times."""
    words = unfused_words(cascade_of("softmax-3-pass", forward(1)))
    assert words == 6 * 2**20 + 4


def test_all_ranks_are_analysed_partitions_as_one() -> None:
    """Only the keys are visited more than once."""
    found = {one.rank: one.count for one in analyse_all(cascade_of("attention-3-pass"))}
    assert found == {"b": 1, "h": 1, "p": 1, "m": 3, "e": 1, "f": 1}
    assert "m1" not in {one.rank for one in analyse_all(cascade_of("attention-1-pass"))}


def test_a_tensor_that_another_rank_reads_whole_goes_through_memory() -> None:
    """Keys made along one rank and read along another, as in self-attention."""
    found = analyse(
        written("K[n, k] = X[n, k] * W[k]", "S[r, n2] = Q[r, k] * K[n2, k]", n2=16), "n"
    )
    assert (found.traffic("K").writes, found.traffic("K").reads) == (1, 1)
    assert found.count == 1


@pytest.mark.parametrize(
    ("rank", "kept", "said"),
    [
        ("q", (), "has no rank `q`; legal: r, n"),
        ("n", ("S",), "`S` is not made along `n`; legal: Y"),
        ("n", ("X",), "`X` is not made along `n`"),
    ],
)
def test_unknown_names_are_refused(rank: str, kept: tuple[str, ...], said: str) -> None:
    """With those there are."""
    cascade = written("S[r] = sum(X[n, r])", "Y[n, r] = X[n, r] / S[r]")
    with pytest.raises(GraphError, match=said):
        analyse(cascade, rank, kept)


def test_a_value_that_needs_its_own_end_is_refused() -> None:
    """A running value that follows from the sum over all its steps."""
    cascade = written("T[] = sum(R[n])", "R[n + 1] = R[n] * T[]")
    with pytest.raises(GraphError, match="needs the end of a traversal of `n`"):
        analyse(cascade, "n")


# ---------------------------------------------------------------- from workloads


def test_the_attention_of_a_model_takes_three_passes() -> None:
    """Its operator is written out as scores, softmax and context."""
    built = workload("bert-base", forward(2, 128))
    found = cascade_of(built, block="layers")
    attention = analyse(found, "attention.m")
    assert (attention.count, attention.held_words) == (3, 128)
    products = [one for one in found.einsums if "mac" in one.operations and one.label != "norm"]
    assert sum(one.points(found.sizes) for one in products) == _macs(built, "layers")
    with pytest.raises(GraphError, match="no block `layer`; it has embedding, layers, head"):
        cascade_of(built, block="layer")


def test_chained_norms_add_their_passes() -> None:
    """Two layer norms, the second of what follows from the first: three passes each."""
    found = cascade_of(workload("bert-base", forward(2, 128)), block="layers")
    widest = max(analyse_all(found), key=lambda one: one.count)
    assert (widest.count, widest.size) == (6, 768)


def test_decoding_reads_the_cache_in_every_pass() -> None:
    """Grouped queries share the keys; the values are read in the last pass alone."""
    found = cascade_of(workload("llama3-8b", decode(4, 255)), block="layers")
    traffic = {one.name: one for one in analyse(found, "attention.m").tensors}
    keys = next(one for name, one in traffic.items() if name.endswith(".k"))
    values = next(one for name, one in traffic.items() if name.endswith(".v"))
    assert (keys.reads, values.reads) == (3, 1)
    assert keys.elements == values.elements == 4 * 8 * 256 * 128


@pytest.mark.parametrize("model", ["mixtral-8x7b", "mamba-1.4b", "resnet50", "dit-xl-2"])
def test_operators_without_statements_stand_for_themselves(model: str) -> None:
    """Every block of any graph becomes a cascade, and every rank has an analysis."""
    from accelsim.workload import load_model, phase_of
    from accelsim.workload.families import family

    spec = load_model(model)
    built = workload(spec, phase_of(spec, family(spec.family).PHASES[0], 1, 16))
    for block in built.blocks:
        found = cascade_of(built, block=block.name)
        assert all(one.words > 0 for one in analyse_all(found))


def test_written_einsums_have_no_blocks() -> None:
    """Asking for one is an error, not ignored."""
    with pytest.raises(ConfigError, match="has no blocks"):
        cascade_of("gemv", block="layers")


def _macs(built: object, name: str) -> int:
    from accelsim.workload.counts import counts
    from accelsim.workload.graph import Workload

    assert isinstance(built, Workload)
    (block,) = (one for one in built.blocks if one.name == name)
    return sum(counts(operator, block.tensors).macs for operator in block.operators)
