"""What a model must fit into: the main memory, or all of them."""

from __future__ import annotations

import pytest

from accelsim.errors import InfeasibleError
from accelsim.evaluation import evaluate

TENSOR = {"mapping.partition.tensor": 8}


def test_pooled_memories_hold_what_one_does_not() -> None:
    """54 requests of 4096 tokens need the AttAccs beside the GPUs; the paper's batch."""
    point = ("gpt3-175b", "attacc", "gpu-pim")
    assert evaluate(*point, batch=52, seq_len=4095, overrides=TENSOR).latency_s > 0
    with pytest.raises(InfeasibleError, match="memory `hbm` of `attacc`"):
        evaluate(*point, batch=52, seq_len=4095, overrides=TENSOR | {"mapping.capacity": "main"})


def test_too_much_for_all_of_them_is_refused_by_name() -> None:
    """The message names the memories and says how much is short."""
    with pytest.raises(InfeasibleError, match=r"`attacc`, `hbm` together.*short by"):
        evaluate("gpt3-175b", "attacc", "gpu-pim", batch=64, seq_len=4095, overrides=TENSOR)
