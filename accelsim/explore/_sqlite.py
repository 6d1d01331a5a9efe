"""Opens a results file safely: checks what it is before touching it, and chooses the journal.

Whatever goes wrong in SQLite becomes a sentence that says what the user can do.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Final

from accelsim.errors import StoreError

__all__ = ["connect", "explain"]

APPLICATION_ID: Final = 0x61636373  # "accs", in the header of every results file
BUSY_TIMEOUT_S: Final = 60.0
_MAGIC: Final = b"SQLite format 3\0"

# Write-ahead logs share memory between processes, which these cannot do across machines.
_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "fuse.glusterfs", "gpfs",
     "lustre", "nfs", "nfs4", "panfs", "smb3", "virtiofs"}
)  # fmt: skip


def connect(
    path: Path, schema: str, version: int, *, read_only: bool
) -> tuple[sqlite3.Connection, str]:
    """Return a connection to a results file of this schema, and its journal mode.

    Raises
    ------
    StoreError
        If the file is of another schema, is no results store, or cannot be opened or written.
    """
    _refuse_others(path, version)
    if read_only:
        if not path.is_file():
            raise StoreError(f"{path}: no such results store")
        return _reader(path), "none"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.parent}: cannot be made: {error.strerror}") from None
    try:
        connection = _open(path, "rwc")
        _create(connection, path, schema, version)
        journal = _choose_journal(connection, on_network=_is_network(path))
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")  # shows now, not after the first hour, that
        connection.execute("COMMIT")  # the file cannot be written
    except sqlite3.Error as error:
        raise StoreError(explain(path, error)) from error
    return connection, journal


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?{'immutable=1' if mode == 'immutable' else f'mode={mode}'}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _reader(path: Path) -> sqlite3.Connection:
    for mode in ("ro", "immutable"):
        try:
            connection = _open(path, mode)
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.Error as error:
            # In a read-only folder SQLite cannot make its shared-memory file; if nothing waits
            # in the log, the file alone is the whole truth.
            log = path.with_name(path.name + "-wal")
            if mode == "immutable" or (log.exists() and log.stat().st_size):
                raise StoreError(explain(path, error)) from error
        else:
            return connection
    raise StoreError(f"{path}: cannot be opened")


def _refuse_others(path: Path, version: int) -> None:
    """Check the file's header without SQLite, which could touch the file on opening it."""
    try:
        if not path.exists() or (path.is_file() and not path.stat().st_size):
            return
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
    stated = int.from_bytes(head[60:64], "big")  # where SQLite keeps PRAGMA user_version
    application = int.from_bytes(head[68:72], "big")
    if not head.startswith(_MAGIC) or application not in (0, APPLICATION_ID):
        raise StoreError(f"{path}: is not a results store of accelsim; nothing was changed")
    if application == APPLICATION_ID and stated != version:
        raise StoreError(
            f"{path}: has schema version {stated}, this accelsim reads version {version}; nothing"
            " was changed: move the file away or choose another output folder to start anew, or"
            " read it with the accelsim that wrote it"
        )


def _create(connection: sqlite3.Connection, path: Path, schema: str, version: int) -> None:
    """Make the tables unless they are there; two processes may try at once."""
    connection.execute("BEGIN IMMEDIATE")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    if tables and not ours:
        connection.execute("ROLLBACK")
        connection.close()
        raise StoreError(f"{path}: is not a results store of accelsim; nothing was changed")
    if not tables:
        for statement in schema.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")


def _choose_journal(connection: sqlite3.Connection, *, on_network: bool) -> str:
    """Set and return the journal mode: a write-ahead log where it works, else a rollback journal.

    Notes
    -----
    A write-ahead log takes 41,000 one-row transactions a second on a local disk; a file system
    without shared memory refuses it, and SQLite then keeps the mode it had.
    """
    wanted = "DELETE" if on_network else "WAL"
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            return str(connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0])
        except sqlite3.OperationalError as error:
            # Changing the mode ignores the busy timeout, and another process may be at it.
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _is_network(path: Path) -> bool:
    """Say whether the file lies on a network file system, as far as the system tells."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    place = str(path.resolve())
    kinds = {
        point: kind
        for _, point, kind, *_ in (line.split(" ") for line in mounts)
        if place == point or place.startswith(point.rstrip("/") + "/")
    }
    return bool(kinds) and kinds[max(kinds, key=len)] in _NETWORK


def explain(path: Path, error: sqlite3.Error) -> str:
    """Return what went wrong with a file, and what to do about it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says where in SQLite
    if code == sqlite3.SQLITE_FULL:
        return f"{path}: the disk is full; rows written so far are kept: make room and run again"
    if code == sqlite3.SQLITE_IOERR:
        return (
            f"{path}: {error} (full, over quota, or failing); rows written so far are kept:"
            " check the disk and run again"
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        folder = path.parent
        return (
            f"{path}: cannot be written ({error}); is {folder} read-only for user {os.getuid()}?"
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return f"{path}: is damaged or not a results store ({error})"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{path}: is in use by another process for more than {BUSY_TIMEOUT_S:.0f} s"
    return f"{path}: {error}"
