"""What every transform must do, whichever file brings it."""

from __future__ import annotations

from typing import Any

import pytest

from accelsim.errors import AccelsimError
from accelsim.workload import (
    Extent,
    Workload,
    decode,
    forward,
    generation,
    prefill,
    totals,
    validate,
    workload,
)
from accelsim.workload.transforms import transforms

# What a transform cannot be made without.
NEEDED: dict[str, dict[str, Any]] = {"speculative": {"draft": "gpt2"}}

PASSES = [
    workload("llama2-7b", decode(2, 5000)),
    workload("mixtral-8x7b", prefill(1, 256)),
    workload("gpt-oss-20b", decode(3, 4000)),
    workload("deepseek-v2-lite", decode(1, 2000)),
    workload("mamba-130m", decode(2, 100)),
    workload("vit-b16", forward(2)),
    workload("sd15-unet", forward(2, extent=Extent(512, 512))),
]


@pytest.fixture(params=sorted(transforms()))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("base", PASSES, ids=lambda w: w.name)
def test_a_pass_stays_legal_or_is_refused_with_a_reason(kind: str, base: Workload) -> None:
    """The graph after a transform is as legal as the one before; a refusal says why."""
    transform = transforms()[kind](**NEEDED.get(kind, {}))
    try:
        changed = transform.apply(base)
    except AccelsimError as refusal:
        reason = str(refusal)
        changed = base
    else:
        reason = "none is needed: it could be applied"
    assert len(reason) > 20
    validate(changed)
    if changed is base:
        return
    assert changed.conventions.items() >= base.conventions.items()
    assert len(changed.conventions) > len(base.conventions)  # what was done is stated
    assert totals(changed).effectual_flops > 0


def test_a_schedule_is_kept_or_refused_with_a_reason(kind: str) -> None:
    """A generation keeps what comes of it; stages are legal and run at least once."""
    for base in (generation("gpt2", seq_len=32), generation("sd15")):
        transform = transforms()[kind](**NEEDED.get(kind, {}))
        try:
            changed = transform.schedule(base)
        except AccelsimError as refusal:
            reason, changed = str(refusal), base
        else:
            reason = "none is needed: it could be applied"
        assert len(reason) > 20
        assert changed.outputs == base.outputs
        for stage in changed.stages:
            validate(stage.workload)


def test_the_defaults_are_a_papers(kind: str) -> None:
    """Each transform cites the paper whose setting its defaults are."""
    assert "arXiv" in transforms()[kind].paper
    assert transforms()[kind].model_fields["kind"].default == kind
