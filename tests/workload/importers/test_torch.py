"""Extraction of small PyTorch modules: what a factory may return, and what stops it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from accelsim.errors import ConfigError, GraphError, MissingExtraError
from accelsim.workload import flop_split, totals
from accelsim.workload.importers.torch import from_torch

INSTALLED = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(
    not INSTALLED, reason="torch is an optional extra and not installed"
)


@pytest.mark.skipif(INSTALLED, reason="torch is installed")
def test_without_torch_the_error_says_how_to_install_it() -> None:
    """The extra is named, before anything else is looked at."""
    with pytest.raises(MissingExtraError, match=r"pip install 'accelsim\[torch\]'"):
        from_torch("math:sqrt")


def mlp(width: int = 8, rows: int = 4) -> Any:
    """Two linear layers with a silu between them."""
    import torch

    net = torch.nn.Sequential(
        torch.nn.Linear(width, 2 * width), torch.nn.SiLU(), torch.nn.Linear(2 * width, width)
    )
    return net, (torch.zeros(rows, width),)


@needs_torch
def test_a_module_of_two_layers() -> None:
    """Products, activation and biases of a plain module, in fp32 as it was made."""
    workload = from_torch(mlp)
    assert [o.kind for _, o in workload.operators()] == ["matmul", "elementwise", "matmul"]
    assert workload.parameters == 2 * 8 * 16 + 16 + 8
    assert totals(workload).macs == 2 * 4 * 8 * 16
    assert totals(workload).weight_read_bytes == 4 * workload.parameters
    assert workload.name == "Sequential"


@needs_torch
def test_arguments_reach_the_function() -> None:
    """Sizes are the function's keyword arguments."""
    workload = from_torch(mlp, arguments={"rows": 7}, name="mine")
    assert totals(workload).macs == 2 * 7 * 8 * 16
    assert workload.name == "mine"


@needs_torch
def test_a_function_is_found_in_a_file(tmp_path: Path) -> None:
    """``file.py:function`` needs no package."""
    path = tmp_path / "net_of_a_user.py"
    path.write_text(
        "import torch\n\n\ndef make(n=3):\n"
        "    return torch.nn.Linear(n, n), {'input': torch.ones(2, n)}\n"
    )
    try:
        assert totals(from_torch(f"{path}:make", arguments={"n": 5})).macs == 50
    finally:
        sys.modules.pop("net_of_a_user", None)


@needs_torch
@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_colon", "names no function"),
        ("no.such.module:make", "there is no module"),
        ("math:no_such", "no function `no_such`"),
        ("nowhere.py:make", "no such file"),
    ],
)
def test_a_wrong_target_says_what_is_wrong(target: str, message: str) -> None:
    """The part of the target that does not exist is named."""
    with pytest.raises(ConfigError, match=message):
        from_torch(target)


@needs_torch
def test_a_function_that_returns_something_else_is_told_what_to_return() -> None:
    """The legal forms are in the hint."""
    with pytest.raises(ConfigError, match=r"returned a list(.|\n)*\(module, kwargs\)"):
        from_torch(lambda: [1])


@needs_torch
def test_arguments_that_the_function_lacks_are_refused() -> None:
    """A typo in an argument names it."""
    with pytest.raises(ConfigError, match="witdh"):
        from_torch(mlp, arguments={"witdh": 3})


@needs_torch
def test_real_tensors_are_moved_to_meta() -> None:
    """A function that ignores the device still extracts, and runs nothing."""
    import torch

    def make() -> Any:
        with torch.device("cpu"):
            return torch.nn.Linear(4, 4), (torch.ones(2, 4),)

    assert totals(from_torch(make)).macs == 32


@needs_torch
@pytest.mark.parametrize("what", ["nonzero", "item", "branch"])
def test_control_flow_that_depends_on_data_names_the_module(what: str) -> None:
    """Without data there is no branch; the module and the cure are named."""
    import torch

    class Picky(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            if what == "nonzero":
                return x[x.sum(1).nonzero()[:, 0]]
            if what == "item":
                return x * x.sum().item()
            return x if x.sum() > 0 else -x

    def make() -> Any:
        return torch.nn.Sequential(torch.nn.Linear(4, 4), Picky()), (torch.ones(2, 4),)

    with pytest.raises(GraphError, match=r"`1` \(Picky\).*depends on data.*static shapes"):
        from_torch(make)


@needs_torch
def test_a_loop_over_tokens_in_python_is_stopped() -> None:
    """A module that issues thousands of operations itself is named, not followed."""
    import torch

    class Loop(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            for _ in range(6000):
                x = x + 1.5
            return x

    with pytest.raises(GraphError, match=r"\(Loop\) issues more than 5000 operations"):
        from_torch(lambda: (Loop(), (torch.ones(2, 4),)))


def slow_recurrence(x: Any) -> Any:
    """A recurrence that a kernel would run whole."""
    for i in range(x.shape[-1]):
        x = x * 0.5 + i
    return x


@needs_torch
def test_a_function_that_is_mapped_is_taken_whole() -> None:
    """Its operations are not followed; it costs like the function named."""
    import torch

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return slow_recurrence(self.fc(x))

    def make() -> Any:
        return Net(), (torch.ones(2, 4),)

    followed = from_torch(make)
    whole = from_torch(make, map={"slow_recurrence": "exp"})
    assert sum(block.count for block, _ in followed.operators()) == 8
    assert [o.kind for _, o in whole.operators()] == ["matmul", "elementwise"]


@needs_torch
def test_a_failing_module_is_named_with_its_reason() -> None:
    """An error of the module itself is passed on with the place."""
    import torch

    def make() -> Any:
        return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(5, 5)), (
            torch.ones(2, 4),
        )

    with pytest.raises(GraphError, match=r"`1` \(Linear\)"):
        from_torch(make)


@needs_torch
def test_tied_weights_are_held_once() -> None:
    """Embedding and head of one matrix are one shared tensor."""
    import torch

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Embedding(20, 8)
            self.lm_head = torch.nn.Linear(8, 20, bias=False)
            self.lm_head.weight = self.embed.weight

        def forward(self, ids: Any) -> Any:
            return self.lm_head(self.embed(ids))

    workload = from_torch(lambda: (Net(), {"ids": torch.zeros(1, 5, dtype=torch.long)}))
    assert workload.parameters == 160
    assert flop_split(workload) == {"lm_head": 2 * 5 * 8 * 20}
    assert (workload.batch, workload.tokens) == (1, 5)


@needs_torch
def test_a_written_value_is_read_by_what_follows() -> None:
    """An in-place product comes between the layers that it stands between."""
    import torch

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            y = self.a(x)
            y.mul_(x)
            return self.b(y)

    kinds = [o.kind for _, o in from_torch(lambda: (Net(), (torch.ones(2, 4),))).operators()]
    assert kinds == ["matmul", "elementwise", "matmul"]


@needs_torch
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions_count_as_torch_counts_them(rank: int, transposed: bool) -> None:
    """MACs equal those of torch's own counter, strided, grouped, dilated and transposed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    name = f"Conv{'Transpose' if transposed else ''}{rank}d"

    def make() -> Any:
        net = getattr(torch.nn, name)(4, 6, 3, stride=2, padding=1, groups=2, dilation=2)
        return net, (torch.zeros(2, 4, *(9, 8, 7)[:rank]),)

    with torch.device("meta"):
        net, inputs = make()
    with FlopCounterMode(display=False) as counter:
        net(*inputs)
    assert totals(from_torch(make)).flops == counter.get_total_flops()


@needs_torch
def test_attention_of_the_library_is_one_operator() -> None:
    """The products of nn.MultiheadAttention are three projections' and one attention's."""
    import torch

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.attn = torch.nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.attn(x, x, x, need_weights=False)[0]

    workload = from_torch(lambda: (Net().train(), (torch.zeros(2, 6, 16),)))
    assert flop_split(workload)["attention"] == 2 * 2 * 4 * 6 * 6 * 8
    assert workload.parameters == 4 * 16 * 16 + 4 * 16
