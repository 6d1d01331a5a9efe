"""Rows to store and to compare."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from accelsim.explore import METRICS, Row, Store


def row(key: str, status: str = "done", **changes: object) -> Row:
    """Return a row whose metrics are the number in its key."""
    value = float(key.strip("abcdefghijklmnopqrstuvwxyz-") or 0)
    plain = Row(
        key=key,
        status=status,  # type: ignore[arg-type]
        model="tiny-gpt",
        arch="small-gpu",
        mapping="on-gpu",
        phase="decode",
        batch=int(value) + 1,
        seq_len=128,
        overrides="{}",
        metrics=(value,) * len(METRICS) if status == "done" else (None,) * len(METRICS),
        extras='{"bound": "memory"}',
        error="" if status == "done" else f"it {status}",
        wall_s=0.25,
        code="0.1.0+test",
        created="2026-01-01T00:00:00+00:00",
        breakdown=zlib.compress(b'{"a": 1}') if status == "done" else b"",
    )
    return plain._replace(**changes)  # type: ignore[arg-type]


def content(path: Path) -> list[tuple[Row, Any]]:
    """Return a store's rows and breakdowns, in their order, without what differs between runs."""
    with Store(path, read_only=True) as store:
        rows = list(store.rows())
        breakdowns = [store.breakdown(row.key) for row in rows]
    stable = [row._replace(wall_s=0.0, created="") for row in rows]
    return list(zip(stable, breakdowns, strict=True))
