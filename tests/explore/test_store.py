"""The results store: what is written stays, and what is not ours is left alone."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from accelsim.errors import StoreError
from accelsim.explore import Store, merge
from accelsim.explore._sqlite import _choose_journal
from accelsim.explore.store import SCHEMA, SCHEMA_VERSION
from tests.explore.rows import content, row


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    """A row, its empty metrics and its breakdown survive closing the file."""
    rows = [row("k1"), row("k2", "infeasible"), row("k3", "excluded"), row("k4", "failed")]
    with Store(tmp_path / "s.sqlite") as store:
        assert store.insert(rows) == 4
    with Store(tmp_path / "s.sqlite") as store:
        assert list(store.rows()) == [r._replace(breakdown=b"") for r in rows]
        assert [store.breakdown(key) for key in ("k1", "k2")] == [{"a": 1}, None]
        assert len(store) == 4


def test_rows_of_keys_come_in_their_order(tmp_path: Path) -> None:
    """Keys without a row are passed over; more keys than one query takes are no matter."""
    with Store(tmp_path / "s.sqlite") as store:
        store.insert([row(f"k{i}") for i in range(1200)])
        wanted = [f"k{i}" for i in range(1300, -1, -1)]
        assert [r.key for r in store.rows(wanted)] == [f"k{i}" for i in range(1199, -1, -1)]
        assert len(store.known(wanted)) == 1200


def test_a_row_is_written_once(tmp_path: Path) -> None:
    """A second row of one key is ignored, and not counted."""
    with Store(tmp_path / "s.sqlite") as store:
        store.insert([row("k1")])
        assert store.insert([row("k1", "failed"), row("k2")]) == 1
        assert store.known(["k1", "k2", "k3"]) == {"k1": ("done", ""), "k2": ("done", "")}


def test_a_forgotten_row_can_be_written_anew(tmp_path: Path) -> None:
    """Forgetting removes row and breakdown."""
    with Store(tmp_path / "s.sqlite") as store:
        store.insert([row("k1")])
        store.forget(["k1", "k2"])
        assert len(store) == 0
        assert store.breakdowns(["k1"]) == {}
        assert store.insert([row("k1", "failed")]) == 1


def test_a_local_store_has_a_write_ahead_log(tmp_path: Path) -> None:
    """The fast journal is chosen where it works."""
    with Store(tmp_path / "s.sqlite") as store:
        assert store.journal == "wal"


def test_a_store_on_a_network_has_a_rollback_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write-ahead logs need shared memory; the store works without, even one that had a log."""
    with Store(tmp_path / "s.sqlite") as store:
        store.insert([row("k1")])
    monkeypatch.setattr("accelsim.explore._sqlite._is_network", lambda path: True)
    with Store(tmp_path / "s.sqlite") as store:
        assert store.journal == "delete"
        assert store.insert([row("k2")]) == 1
        assert len(store) == 2


def test_a_refused_log_falls_back(tmp_path: Path) -> None:
    """A file system without shared memory refuses the log; the rollback journal stays."""
    uri = (tmp_path / "s.sqlite").as_uri() + "?vfs=unix-dotfile"
    connection = sqlite3.connect(uri, uri=True)
    try:
        assert _choose_journal(connection, on_network=False) == "delete"
    finally:
        connection.close()


def test_the_schema_and_its_version_change_together() -> None:
    """Whoever changes the tables must raise SCHEMA_VERSION, and then this digest."""
    text = re.sub(r"\s+", " ", SCHEMA)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert (SCHEMA_VERSION, digest) == (1, "5cb2258c47e0446e")


def test_another_schema_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    """The error names both versions and what to do; not one byte changes."""
    path = tmp_path / "s.sqlite"
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 6}")
    connection.close()
    before = path.read_bytes()
    expected = rf"schema version {SCHEMA_VERSION + 6}, .* version {SCHEMA_VERSION};.*move the file"
    for read_only in (False, True):
        with pytest.raises(StoreError, match=expected):
            Store(path, read_only=read_only)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.sqlite"]


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    """A file that is no database is named and left alone."""
    path = tmp_path / "s.sqlite"
    path.write_text("model,latency\n")
    with pytest.raises(StoreError, match="is not a results store of accelsim"):
        Store(path)
    assert path.read_text() == "model,latency\n"


def test_a_database_of_others_is_refused(tmp_path: Path) -> None:
    """A database with other tables gets none of ours."""
    path = tmp_path / "s.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is not a results store of accelsim"):
        Store(path)
    assert path.read_bytes() == before


def test_a_truncated_store_is_refused(tmp_path: Path) -> None:
    """A damaged file is an error with its name, not a traceback of SQLite."""
    path = tmp_path / "s.sqlite"
    with Store(path) as store:
        store.insert([row(f"k{i}") for i in range(500)])
    os.truncate(path, 9000)
    with pytest.raises(StoreError, match=r"s\.sqlite: is damaged"), Store(path) as store:
        list(store.rows())


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    """A path that is a folder gives an error with its name."""
    with pytest.raises(StoreError, match="Is a directory"):
        Store(tmp_path)


def test_a_store_that_is_only_read_must_exist(tmp_path: Path) -> None:
    """Reading does not make an empty store."""
    with pytest.raises(StoreError, match="no such results store"):
        Store(tmp_path / "none.sqlite", read_only=True)
    assert not list(tmp_path.iterdir())


@contextmanager
def unprivileged_folder() -> Iterator[Path]:
    """Give a folder that this process cannot write for the time being, even as root."""
    with tempfile.TemporaryDirectory() as name:
        folder, user = Path(name), os.geteuid()
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o700)


def lock(folder: Path) -> None:
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)  # root may write anywhere


def test_a_read_only_folder_is_refused() -> None:
    """The error names the file and asks about the folder."""
    with unprivileged_folder() as folder:
        lock(folder)
        with pytest.raises(StoreError, match=r"cannot be written.*read-only"):
            Store(folder / "s.sqlite")
        with pytest.raises(StoreError, match="cannot be made: Permission denied"):
            Store(folder / "reports" / "s.sqlite")


def test_a_store_in_a_read_only_folder_can_be_read() -> None:
    """Someone else's results need no write permission."""
    with unprivileged_folder() as folder:
        with Store(folder / "s.sqlite") as store:
            store.insert([row("k1")])
        (folder / "s.sqlite").chmod(0o444)
        lock(folder)
        with Store(folder / "s.sqlite", read_only=True) as store:
            assert [r.key for r in store.rows()] == ["k1"]
            with pytest.raises(StoreError, match="cannot be written"):
                store.insert([row("k2")])


def test_a_full_store_is_an_error_and_keeps_its_rows(tmp_path: Path) -> None:
    """SQLITE_FULL: the transaction is undone, earlier rows stay, and later there is room again."""
    path = tmp_path / "s.sqlite"
    with Store(path) as store:
        store.insert([row("k1")])
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreError, match="the disk is full; rows written so far are kept"):
            store.insert([row(f"k{i}") for i in range(2, 2000)])
        assert [r.key for r in store.rows()] == ["k1"]
        store._connection.execute("PRAGMA max_page_count = 1000000")
        assert store.insert([row(f"k{i}") for i in range(2, 2000)]) == 1998


def fill(store: Store) -> None:
    for n in range(2, 20000, 50):
        store.insert([row(f"k{i}") for i in range(n, n + 50)])


def test_a_full_disk_is_an_error_and_keeps_its_rows(tmp_path: Path) -> None:
    """The same on a real file system of 256 KiB."""
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "accelsim-test", str(tmp_path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError as error:
        pytest.skip(f"a full disk needs a small file system, and there is no mount: {error}")
    if done.returncode:
        pytest.skip(f"a full disk needs a small file system: {done.stderr.strip()}")
    try:
        with Store(tmp_path / "s.sqlite") as store:
            store.insert([row("k1")])
            with pytest.raises(StoreError, match="rows written so far are kept"):
                fill(store)
            kept = len(store)
            assert kept >= 51
        assert len(content(tmp_path / "s.sqlite")) == kept
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def write_many(path: Path, first: int) -> None:
    with Store(path) as store:
        for n in range(first, first + 300, 10):
            store.insert([row(f"k{i}") for i in range(n, n + 10)])


def test_two_processes_write_one_store(tmp_path: Path) -> None:
    """Started together on a file that is not there yet, both write all their rows."""
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "s.sqlite"
    writers = [context.Process(target=write_many, args=(path, n)) for n in (0, 150, 600)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    expected = {f"k{i}" for i in [*range(450), *range(600, 900)]}
    assert {r.key for r, _ in content(path)} == expected


def test_merged_stores_are_their_union(tmp_path: Path) -> None:
    """Rows of several files come together, common ones once, breakdowns included."""
    for name, keys in {"a": range(700), "b": range(600, 900)}.items():
        with Store(tmp_path / f"{name}.sqlite") as store:
            store.insert([row(f"k{i}") for i in keys])
    with Store(tmp_path / "c.sqlite") as whole:
        whole.insert([row(f"k{i}") for i in range(900)])
    sources = [Store(tmp_path / f"{name}.sqlite", read_only=True) for name in ("a", "b")]
    with Store(tmp_path / "m.sqlite") as target:
        assert merge(target, sources) == 900
        assert merge(target, sources) == 0
    assert content(tmp_path / "m.sqlite") == content(tmp_path / "c.sqlite")


def test_merging_repairs_failures(tmp_path: Path) -> None:
    """A failed row gives way to a finished one, never the other way round."""
    with Store(tmp_path / "a.sqlite") as a, Store(tmp_path / "b.sqlite") as b:
        a.insert([row("k1", "failed"), row("k2"), row("k3", "failed")])
        b.insert([row("k1"), row("k2", "failed"), row("k3", "failed")])
        assert merge(a, [b]) == 1
        assert {k: s for k, (s, _) in a.known(["k1", "k2", "k3"]).items()} == {
            "k1": "done", "k2": "done", "k3": "failed",
        }  # fmt: skip
