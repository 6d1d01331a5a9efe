"""What every model of the library must do, whichever file brings it."""

from __future__ import annotations

import pytest

from accelsim.config import library
from accelsim.workload import (
    Conventions,
    Dtypes,
    Phase,
    Role,
    SequenceGroup,
    decode,
    flop_split,
    load_model,
    mixed,
    model_names,
    prefill,
    resident_bytes,
    totals,
    validate,
    workload,
)
from accelsim.workload.families import family
from tests.workload import closed_form

EVERY = Conventions(logits="all")
NAMES = model_names()
DECODERS = [
    name
    for name in NAMES
    if load_model(name).family == "decoder" and load_model(name).parameters.attention == "standard"
]
PHASES = [
    prefill(1, 37),
    prefill(3, 16, 200),
    decode(5, 4000),
    mixed([SequenceGroup(2, 9), SequenceGroup(4, 1, 700)]),
]


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_named_after_the_model(name: str) -> None:
    """A model is found by its file's name, stands in its family's folder, and says its source."""
    model = load_model(name)
    assert model.name == name
    assert library.find("models", name).parent.name == model.family
    assert model.source.strip()


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_near_the_published_count(name: str) -> None:
    """A published count is rounded; a typing error in a dimension is larger than the rounding."""
    model = load_model(name)
    if model.published_parameters is None:
        return
    count = family(model.family).parameter_count(model.parameters)
    assert count == pytest.approx(model.published_parameters, rel=0.015)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("phase", PHASES, ids=str)
def test_the_graph_is_legal_and_equals_the_second_closed_form(name: str, phase: Phase) -> None:
    """Parameters and FLOPs equal a closed form written by hand, in every kind of phase."""
    model = load_model(name)
    graph = validate(
        workload(model, phase, conventions=Conventions(logits="all"), dtypes=Dtypes())
    )
    fields = model.parameters.model_dump()
    wanted = closed_form.parameters(fields)
    assert (graph.parameters, graph.active_parameters) == tuple(wanted.values())
    want = closed_form.flops(fields, [(g.count, g.q_len, g.past_len) for g in phase.groups])
    assert sum(flop_split(graph).values()) == want["total"]
    assert flop_split(graph, unmasked=True)["attention"] == want["attn_causal"]
    assert resident_bytes(graph)[Role.WEIGHT] == 2 * graph.parameters


@pytest.mark.parametrize("name", DECODERS)
def test_more_work_never_takes_fewer_bytes(name: str) -> None:
    """A larger batch or a longer past reads at least as much of everything."""
    base, wider, longer = (
        totals(workload(name, phase)) for phase in (decode(1, 64), decode(4, 64), decode(1, 256))
    )
    for more in (wider, longer):
        assert more.macs >= base.macs
        assert more.read_bytes > base.read_bytes
        assert more.weight_read_bytes >= base.weight_read_bytes
