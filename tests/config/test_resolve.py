"""Expressions over a file's parameters: scopes, order, cycles, and what stays text."""

from __future__ import annotations

from typing import Any

import pytest

from accelsim.config import parse_tree, resolve
from accelsim.errors import ConfigError


def resolved(text: str) -> Any:
    return resolve(parse_tree(text, "f.yaml")).data


def test_names_are_sought_innermost_first() -> None:
    """A sibling hides a field of the same name further out."""
    data = resolved("n: 1\nmesh:\n  n: 5\n  total: n * 2\ntotal: n * 2\n")
    assert data == {"n": 1, "mesh": {"n": 5, "total": 10}, "total": 2}


def test_dotted_names_reach_into_mappings() -> None:
    """As in the file's own structure."""
    text = "mesh: {rows: 4, columns: 8}\npes: mesh.rows * mesh.columns * 4\n"
    assert resolved(text)["pes"] == 128


def test_a_bare_dotted_name_is_a_reference() -> None:
    """`lanes: mesh.rows` means the number, and `${rows}` does for a name without a dot."""
    data = resolved("rows: 4\nmesh: {rows: 3}\nlanes: mesh.rows\nalso: ${rows}\n")
    assert data == {"rows": 4, "mesh": {"rows": 3}, "lanes": 3, "also": 4}


def test_order_in_the_file_does_not_matter() -> None:
    """Parameters resolve in dependency order."""
    assert resolved("c: b + 1\nb: a + 1\na: 1\n") == {"c": 3, "b": 2, "a": 1}


def test_quantities_count_in_their_stored_unit() -> None:
    """A clock written with its unit can be multiplied."""
    assert resolved("clock: 2 GHz\nwidth: 64\npeak: clock * width\n")["peak"] == 128e9


@pytest.mark.parametrize(
    "text", ["llama3-8b", "gpt2-xl", "roofline-best", "a/b/c", "NVIDIA (2020)"]
)
def test_text_that_merely_looks_like_arithmetic_stays_text(text: str) -> None:
    """Names with dashes are text unless every part is a parameter."""
    assert resolved(f"name: {text}\nb: 1\n")["name"] == text


def test_a_quoted_scalar_is_never_an_expression() -> None:
    """Quotes are the way to say text."""
    assert resolved("a: 1\nb: 'a * 2'\n")["b"] == "a * 2"


def test_a_cycle_is_named() -> None:
    """All its members, in order."""
    with pytest.raises(ConfigError, match=r"f\.yaml:1:\d+: a: expression cycle: a -> b -> c -> a"):
        resolved("a: b + 1\nb: c + 1\nc: a + 1\n")


def test_a_parameter_of_itself_is_a_cycle() -> None:
    """The shortest cycle there is."""
    with pytest.raises(ConfigError, match="expression cycle"):
        resolved("a: ${a + 1}\n")


def test_an_unknown_name_in_braces_is_an_error_with_the_nearest() -> None:
    """Braces say that an expression is meant."""
    with pytest.raises(ConfigError, match=r"no parameter `row` .*did you mean `rows`"):
        resolved("rows: 1\nb: ${row * 2}\n")


def test_arithmetic_with_text_is_refused() -> None:
    """Says which name is text."""
    with pytest.raises(ConfigError, match=r"`kind` is text \(`systolic`\)"):
        resolved("kind: systolic\nb: ${kind * 2}\n")
