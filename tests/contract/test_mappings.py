"""Every shipped policy is legal on every shipped architecture, or says why not."""

from __future__ import annotations

import pytest

from accelsim import mapping
from accelsim.config import library
from accelsim.errors import InfeasibleError, MappingError
from tests.contract.outcome import outcome
from tests.golden.replay import designs


@pytest.mark.parametrize("name", library.names("mapping"))
def test_the_file_loads_and_its_name_is_its_own(name: str) -> None:
    """What the library lists is what the file says."""
    assert mapping.load(name).name == name


@pytest.mark.parametrize(("arch", "name"), designs())
def test_a_policy_runs_or_is_refused_with_a_reason(name: str, arch: str) -> None:
    """The message names policy, operator and architecture."""
    result = outcome("gpt2", arch, name, phase="decode", batch=2, seq_len=128)
    if isinstance(result, MappingError):
        assert name in str(result)
        assert arch in str(result)
    elif isinstance(result, InfeasibleError):
        assert "short by" in str(result)
    else:
        assert result.latency_s >= 0
