"""Compute inside a flash drive: the slowest of pages, products and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from accelsim.cost import Setting, Work
from accelsim.cost.flash import Flash
from accelsim.cost.infinite import InfiniteMemory
from accelsim.cost.storage_engine import StorageEngine
from accelsim.errors import ConfigError
from accelsim.testing.components import UnitContract


def engine(**changes: object) -> StorageEngine:
    """Return InstInfer's units, eight of them."""
    fields = {
        "source": "test", "memory": "flash", "units": 8, "product_flops": "12.7 GFLOPS",
        "softmax_flops": "14.2 MFLOPS",
    }  # fmt: skip
    return StorageEngine.model_validate(fields | changes)


def setting(**changes: object) -> Setting:
    """Return InstInfer's flash around it."""
    fields = {
        "source": "test", "capacity_bytes": "2 TB", "page_bytes": "4 KiB", "channels": 8,
        "channel_bytes_per_s": "1.4 GB/s",
    }  # fmt: skip
    return Setting(Flash.model_validate(fields | changes), None, 8.0)


def attention(batch: int = 1, heads: int = 40, length: int = 1024, width: int = 128) -> Work:
    """Return decode attention of one layer in fp16."""
    scores = batch * heads * length
    return Work(
        "attention", batch=batch, kv_bytes=4 * scores * width, macs=2 * scores * width,
        vector_ops=5 * scores, heads=heads, kv_heads=heads, q_len=1, kv_len=length,
        head_dim=width, value_dim=width, causal=True,
        input_bytes=2 * batch * heads * width, output_bytes=2 * batch * heads * width,
    )  # fmt: skip


GEMV = Work(
    "matmul", m=1, n=4096, k=5120, weight_bytes=2 * 4096 * 5120, macs=4096 * 5120,
    input_bytes=10240, output_bytes=8192,
)  # fmt: skip


class TestContract(UnitContract):
    """The laws of every unit."""

    def unit(self) -> StorageEngine:
        return engine()

    def setting(self) -> Setting:
        return setting()

    def works(self) -> Sequence[Work]:
        return [attention(), attention(4, 8, 100), GEMV]

    def refused(self) -> Sequence[Work]:
        return [
            Work("norm"), replace(attention(), q_len=2), replace(GEMV, m=2),
            replace(GEMV, bits_b=8), replace(attention(), function="backward"),
        ]  # fmt: skip

    def peak_macs_per_s(self, work: Work) -> float:
        return 8 * 12.7e9 / 2

    def grown_dimensions(self, work: Work) -> Sequence[str]:
        return ("n", "k") if work.kind == "matmul" else ()

    def test_moves_compulsory_bytes(self) -> None:
        """Nothing of the operands leaves the drives: pages are read, and paid for, inside."""
        for work, estimate in self._estimates():
            assert estimate.weight_traffic_bytes == 0
            assert estimate.includes_memory
            pages = int(estimate.choice.split()[0]) * 4096
            assert pages >= work.weight_bytes + work.kv_bytes


def test_channels_bound_eight_units() -> None:
    """64 sequences of 1536 tokens: 2.01 GB a layer at 11.2 GB/s."""
    work = attention(64, length=1536)
    found = engine().estimate(work, setting()).compute_ps
    assert found == pytest.approx(work.kv_bytes / 11.2e9 * 1e12, rel=1e-9)


def test_one_unit_is_bound_by_its_softmax() -> None:
    """Five operations for each of 64 x 40 x 1536 scores at 14.2 million a second."""
    work = attention(64, length=1536)
    found = engine(units=1).estimate(work, setting()).compute_ps
    assert found == pytest.approx(5 * 64 * 40 * 1536 / 14.2e6 * 1e12, rel=1e-9)
    assert found == pytest.approx(7.7 * engine().estimate(work, setting()).compute_ps, rel=0.01)


def test_products_bound_a_slower_unit() -> None:
    """Two operations per multiply-accumulate; 51 units are the paper's 650 GFLOP/s."""
    work = attention(64, length=1536)
    slow = engine(product_flops="1 GFLOPS", softmax_flops="1 TFLOPS")
    assert slow.estimate(work, setting()).compute_ps == pytest.approx(2 * work.macs / 8e9 * 1e12)
    per_drive = 51 * engine().product_flops
    assert per_drive == pytest.approx(650e9, rel=0.01)


def test_starts_count_per_head() -> None:
    """One sequence of 40 heads on 8 units: two products and a softmax each."""
    work = attention()
    started = engine(product_start_s="1 s", softmax_start_s="3 s")
    assert started.product_s(work, 1) - engine().product_s(work, 1) == pytest.approx(2 * 40 / 8)
    assert started.softmax_s(work, 1) - engine().softmax_s(work, 1) == pytest.approx(3 * 40 / 8)


def test_the_busiest_drive_tells_the_time() -> None:
    """40 heads over 16 drives are three on some of them, as over 14; over 20 two on each."""
    work = attention(64, length=1536)
    ps = {n: engine().estimate(work, setting(drives=n)).compute_ps for n in (1, 14, 16, 20)}
    assert ps[16] == ps[14] == pytest.approx(ps[1] * 3 / 40, rel=1e-6)
    assert ps[20] == pytest.approx(ps[1] / 20, rel=1e-6)


def test_heads_are_read_in_whole_pages() -> None:
    """A token's key of 256 bytes fills a sixteenth of a page; 17 tokens take two."""
    found = [
        int(engine().estimate(attention(length=n), setting()).choice.split()[0])
        for n in (1, 16, 17)
    ]
    assert found == [80, 80, 160]


def test_a_mask_leaves_pages_unread() -> None:
    """An eighth of the tokens is an eighth of everything, up to whole pages."""
    whole = attention(4, length=2048)
    part = replace(whole, kv_seen=256)
    dense, sparse = (engine().estimate(work, setting()).compute_ps for work in (whole, part))
    assert sparse == pytest.approx(dense / 8, rel=1e-9)


def test_read_pages_are_paid_for() -> None:
    """Energy of the cells by bit of whole pages, and of the multiply-accumulates where given."""
    energy = engine(mac_pj=2).estimate(GEMV, setting(access_pj_per_bit=1)).energy_pj
    assert energy == {"read": 8.0 * GEMV.weight_bytes, "mac": 2.0 * GEMV.macs}


def test_another_memory_is_refused() -> None:
    """The error says what is needed."""
    with pytest.raises(ConfigError, match="a flash is needed"):
        engine().estimate(GEMV, Setting(InfiniteMemory(source="-"), None, 8.0))
