"""YAML reading: YAML 1.2 scalars, locations, and the refusal of what is unsafe."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.config import load_tree, parse_tree
from accelsim.errors import ConfigError


def test_plain_scalars_follow_yaml_1_2() -> None:
    """1e9 is a number, no is text, 010 is ten, 1:30 is text; quoted scalars are text."""
    text = "a: 1e9\nb: no\nc: 010\nd: 1:30\ne: '12'\nf: 0x1F\ng: ~\nh: true\ni: .inf\n"
    assert parse_tree(text).data == {
        "a": 1e9, "b": "no", "c": 10, "d": "1:30", "e": "12", "f": 31, "g": None, "h": True,
        "i": float("inf"),
    }  # fmt: skip


def test_every_value_knows_its_line_and_column() -> None:
    """Lines and columns count from 1."""
    tree = parse_tree("a:\n  - 1\n  - b: 2\n", "x.yaml")
    assert str(tree.locate(("a", 1, "b"))) == "x.yaml:3:8"
    assert str(tree.locate(("a", 1, "b"), key=True)) == "x.yaml:3:5"


def test_an_unknown_path_is_located_at_its_nearest_parent() -> None:
    """So that a missing field points at the mapping that lacks it."""
    assert parse_tree("a:\n  b: 1\n", "x").locate(("a", "c")).line == 2


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    """PyYAML would silently keep the last."""
    with pytest.raises(ConfigError, match=r"x:2:1: duplicate key `a` \(first at line 1\)"):
        parse_tree("a: 1\na: 2\n", "x")


def test_an_alias_bomb_is_refused() -> None:
    """Nine levels of nine aliases would be 387 million values."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="after aliases are expanded"):
        parse_tree("\n".join(lines))


def test_deep_nesting_is_refused() -> None:
    """A file of brackets must not exhaust the stack."""
    with pytest.raises(ConfigError, match=r"levels|not valid YAML"):
        parse_tree("[" * 500 + "]" * 500)


def test_a_recursive_alias_is_refused() -> None:
    """A node inside itself never ends."""
    with pytest.raises(ConfigError):
        parse_tree("a: &a [*a]")


def test_broken_yaml_says_where() -> None:
    """Syntax errors carry the line and column where the parser gave up."""
    with pytest.raises(ConfigError, match=r"bad:3:1: not valid YAML"):
        parse_tree("a: 1\nb: [1, 2\n", "bad")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The path and the reason, no traceback of the operating system."""
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        load_tree(tmp_path / "none.yaml")


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    """Not UTF-8 is said so."""
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_tree(path)
