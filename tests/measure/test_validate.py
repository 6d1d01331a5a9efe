"""A file of reference cases is recognised by its columns, read whole, and refused with a line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from accelsim import registry
from accelsim.errors import ConfigError
from accelsim.measure.validate import read_rows, validate_file

HEAD = "array_rows,array_cols,dataflow,M,N,K,total_cycles"
ROW = "8,8,os,1,1,1,14"


def written(folder: Path, text: str, name: str = "cases.csv") -> Path:
    file = folder / name
    data = text.encode()
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return file


def test_comments_and_empty_lines_are_no_rows(tmp_path: Path) -> None:
    """Lines that begin with ``#`` may stand anywhere."""
    file = written(tmp_path, f"# one\n\n{HEAD}\n# two\n{ROW}\n\n{ROW}\n")
    columns, rows = read_rows(file)
    assert columns == HEAD.split(",")
    assert [row["total_cycles"] for row in rows] == ["14", "14"]


def test_gzip_is_recognised_by_content(tmp_path: Path) -> None:
    """A compressed file gives the same cases, whatever its name."""
    plain = written(tmp_path, f"{HEAD}\n{ROW}\n")
    packed = written(tmp_path, f"{HEAD}\n{ROW}\n", "cases.csv.gz")
    renamed = packed.rename(tmp_path / "packed.csv")
    assert validate_file(renamed) == validate_file(plain)


def test_quoted_fields_keep_commas(tmp_path: Path) -> None:
    """A comma within quotes does not divide a field."""
    file = written(tmp_path, 'name,note\na,"x, y"\n')
    assert read_rows(file)[1] == [{"name": "a", "note": "x, y"}]


def test_further_columns_do_not_matter(tmp_path: Path) -> None:
    """A format is told by the columns that it needs."""
    file = written(tmp_path, f"{HEAD},remark\n{ROW},fine\n")
    found = validate_file(file)
    assert (found.lines, len(found.cases), found.cases[0].error_percent) == (1, 1, 0.0)


def test_unknown_columns_name_the_known_formats(tmp_path: Path) -> None:
    """The refusal lists what could have been read."""
    file = written(tmp_path, "a,b\n1,2\n")
    with pytest.raises(ConfigError, match="no known format: a, b") as refused:
        validate_file(file)
    for name in registry.names("cases"):
        assert registry.module("cases", name).NAME in str(refused.value)


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        (f"{HEAD}\n{ROW}\n8,8,os\n", "3 fields, the head has 7", 3),
        (f"# remark\n{HEAD}\n# remark\n{ROW},1\n", "8 fields, the head has 7", 4),
        (f'{HEAD}\n8,8,"os\n', "not valid CSV", 2),
        ("a,b,a\n1,2,3\n", "column `a` stands twice", 1),
    ],
)
def test_malformed_csv_names_the_line(tmp_path: Path, text: str, problem: str, line: int) -> None:
    """The line is that of the file, comments counted."""
    file = written(tmp_path, text)
    with pytest.raises(ConfigError, match=problem) as refused:
        read_rows(file)
    assert f"{file}:{line}: " in str(refused.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", f"{HEAD}\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    """Nothing to compare is no success."""
    with pytest.raises(ConfigError, match="has no rows"):
        validate_file(written(tmp_path, text))


@pytest.mark.parametrize(
    "data", [b"\x1f\x8bnonsense", gzip.compress(b"a,b\n", mtime=0)[:-9], b"\xff\xfe\x00"]
)
def test_damaged_files_are_refused(tmp_path: Path, data: bytes) -> None:
    """Neither a broken archive nor a file that is no text ends in a traceback."""
    file = tmp_path / "damaged.csv"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match="not a CSV file"):
        validate_file(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """The reason is the system's."""
    with pytest.raises(ConfigError, match="No such file"):
        validate_file(tmp_path / "missing.csv")


def test_a_value_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """A malformed value names the format and the value."""
    file = written(tmp_path, f"{HEAD}\n8,8,os,one,1,1,14\n")
    with pytest.raises(ConfigError, match=r"SCALE-Sim.*'one'"):
        validate_file(file)
