"""The exported graphs are those of the library, and small enough to carry."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from accelsim.errors import ConfigError, UnknownNameError
from accelsim.measure.bench import graphs
from accelsim.measure.bench.case import case
from accelsim.measure.bench.counts import counts
from accelsim.measure.bench.export import WANTED, to_text, write_graphs
from accelsim.workload import decode, totals, workload


def test_the_file_is_not_stale() -> None:
    """`accelsim measure models --write-graphs` would write what is there."""
    stored = gzip.decompress(graphs.FILE.read_bytes()).decode()
    assert stored == to_text(), "run `accelsim measure models --write-graphs`"


def test_equal_graphs_make_equal_files(tmp_path: Path) -> None:
    """No date or name is in the file, and it is small."""
    one, two = (write_graphs(tmp_path / name).read_bytes() for name in ("a.gz", "b.gz"))
    assert one == two
    assert graphs.FILE.stat().st_size < 300_000


def test_a_dozen_models_of_all_kinds() -> None:
    """Language models dense, latent and of experts, encoders, images, diffusion, state spaces."""
    loaded = graphs.load()
    assert len(loaded) == len(WANTED)
    assert len({name.split("/")[0] for name in loaded}) >= 12
    kinds = {o.kind for g in loaded.values() for b in g.blocks for o in b.operators}
    assert {"matmul", "conv", "attention", "norm", "route", "scan", "gather", "reduce"} <= kinds


def test_counts_are_those_of_the_library() -> None:
    """Operations of the whole pass are the workload's own; a block is a part of it."""
    name = "llama3-8b/decode 8x1 past 2047"
    built = workload("llama3-8b", decode(8, 2047))
    expected = totals(built)
    whole = counts(case("model", "bf16", "torch.eager", subop=name))
    assert whole.flops == 2 * expected.macs + expected.vector_ops
    layers = counts(case("block", "bf16", "torch.eager", subop=f"{name}#layers"))
    assert 0 < 32 * (layers.flops or 0) < whole.flops
    assert whole.bytes_min == pytest.approx(
        2 * (8.03e9 - 128256 * 4096) + 8 * 2048 * 131072, rel=0.01
    )


def test_twins_have_the_same_operators() -> None:
    """What checks a block computes the same kinds with the same attributes."""
    for graph in graphs.load().values():
        for block, twin in zip(graph.blocks, graph.check, strict=True):
            assert [(o.kind, o.inputs) for o in block.operators] == [
                (o.kind, o.inputs) for o in twin.operators
            ]
            assert sum(t.elements for t in twin.tensors.values()) < 2e7


def test_unknown_and_damaged_files_are_named(tmp_path: Path) -> None:
    """A name without a graph, a missing file and a foreign one are errors a user can act on."""
    with pytest.raises(UnknownNameError, match="llama9"):
        graphs.named("llama9")
    with pytest.raises(ConfigError, match="write-graphs"):
        graphs.load(tmp_path / "none.gz")
    foreign = tmp_path / "foreign.gz"
    foreign.write_bytes(gzip.compress(json.dumps({"schema": "x"}).encode()))
    with pytest.raises(ConfigError, match="not of format"):
        graphs.load(foreign)
