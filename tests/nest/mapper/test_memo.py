"""What was searched once is found again: in memory, on disk, and after a kill."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim import jit
from accelsim.nest import ACCOUNTINGS, matmul
from accelsim.nest.mapper import memo
from accelsim.nest.mapper.memo import found_nest
from tests.nest.devices import weight_stationary

OWN = ACCOUNTINGS["accelsim"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, and nothing in memory."""
    monkeypatch.setattr(jit, "_cache_root", lambda: tmp_path)
    monkeypatch.setattr(memo, "_found", type(memo._found)())
    return tmp_path


def _asked() -> memo.Found:
    return found_nest(matmul(8, 16, 24), weight_stationary(4, 4), "latency", OWN, {}, True)


def test_a_question_is_searched_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _asked()
    assert len(list(folder.rglob("*.json"))) == 1

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("searched again")

    monkeypatch.setattr(memo, "search", never)
    assert _asked() is first
    monkeypatch.setattr(memo, "_found", type(memo._found)())
    again = _asked()
    assert again.nest == first.nest
    assert again.figures.cycles == first.figures.cycles
    assert again.gap == first.gap


def test_other_questions_have_answers_of_their_own(folder: Path) -> None:
    _asked()
    found_nest(matmul(8, 16, 25), weight_stationary(4, 4), "latency", OWN, {}, True)
    found_nest(matmul(8, 16, 24), weight_stationary(4, 8), "latency", OWN, {}, True)
    found_nest(matmul(8, 16, 24), weight_stationary(4, 4), "energy", OWN, {}, True)
    found_nest(matmul(8, 16, 24), weight_stationary(4, 4), "latency", OWN, {}, False)
    assert len(list(folder.rglob("*.json"))) == 5


@pytest.mark.parametrize("broken", ["", "{", '{"loops": []}', '{"loops": 3, "keeps": []}'])
def test_a_broken_file_is_searched_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    first = _asked()
    (file,) = folder.rglob("*.json")
    file.write_text(broken)
    monkeypatch.setattr(memo, "_found", type(memo._found)())
    assert _asked().nest == first.nest
    assert file.read_text().startswith('{"loops": [[')
    assert not list(folder.rglob("*.part"))


def test_a_store_that_cannot_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memo, "cache_folder", lambda name: None)
    monkeypatch.setattr(memo, "_found", type(memo._found)())
    assert _asked().gap == 0.0
