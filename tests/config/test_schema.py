"""Validation: every problem with file, line, field path, what was found and what is legal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from accelsim.config import (
    Bytes,
    Count,
    Fraction,
    Hertz,
    Spec,
    compose,
    load_spec,
    parse_tree,
    resolve,
    validate,
)
from accelsim.errors import ConfigError


class Square(Spec):
    kind: Literal["square"] = "square"
    side: Count


class Ring(Spec):
    kind: Literal["ring"] = "ring"
    radius: Count


class Design(Spec):
    name: str
    clock_hz: Hertz
    size_bytes: Bytes = 1.0
    share: Fraction = 0.5
    mode: Literal["fast", "slow"] = "fast"
    parts: tuple[Annotated[Square | Ring, Field(discriminator="kind")], ...] = ()


def design(text: str) -> Design:
    return validate(resolve(parse_tree(text, "d.yaml")), Design)


def test_quantities_and_expressions_become_numbers() -> None:
    """One typed object, everything in its stored unit."""
    got = design("name: x\nclock_hz: 940 MHz\nsize_bytes: 4 * 1024\nshare: 1 / 4\n")
    assert (got.clock_hz, got.size_bytes, got.share) == (940e6, 4096.0, 0.25)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\nclock_hz: 1\nclok: 2\n", r"d\.yaml:3:1: clok: unknown key `clok`.*`clock_hz`"),
        ("name: x\n", r"d\.yaml:1:1: `clock_hz` is missing"),
        ("name: x\nclock_hz: 3 GB\n", r"d\.yaml:2:11: clock_hz: unit `GB` does not fit hz"),
        ("name: x\nclock_hz: -1 GHz\n", r"d\.yaml:2:11: clock_hz: .*greater than 0 \(found `-1"),
        ("name: x\nclock_hz: 1\nshare: 1.5\n", r"d\.yaml:3:8: share: .*less than or equal to 1"),
        ("name: x\nclock_hz: 1\nmode: fats\n", r"mode: found `fats`(.|\n)*did you mean `fast`"),
        ("name: x\nclock_hz: yes\n", r"`yes` is not a number"),
        ("name: x\nclock_hz: true\n", r"a number with a unit is needed"),
        (
            "name: x\nclock_hz: 1\nparts:\n  - {kind: squar, side: 1}\n",
            r"d\.yaml:4:\d+: parts\.0\.kind: unknown kind `squar`(.|\n)*did you mean `square`",
        ),
        (
            "name: x\nclock_hz: 1\nparts:\n  - {kind: square, side: 1.5}\n",
            r"d\.yaml:4:\d+: parts\.0\.side: 1\.5 is not a whole number",
        ),
        (
            "name: x\nclock_hz: 1\nparts:\n  - {kind: square, side: clok_hz * 2}\n",
            r"no parameter `clok_hz`(.|\n)*did you mean `clock_hz`",
        ),
        ("- 1\n", "a mapping is needed, found list"),
    ],
)
def test_a_bad_file_says_where_what_and_what_is_legal(text: str, says: str) -> None:
    """File, line, column, field path, found value, nearest legal spelling."""
    with pytest.raises(ConfigError, match=says):
        design(text)


def test_all_problems_are_listed_at_once() -> None:
    """A user mends a file in one go."""
    with pytest.raises(ConfigError) as caught:
        design("name: x\nclock_hz: 1 B\nshare: 7\n")
    assert "d.yaml:2:" in str(caught.value)
    assert "d.yaml:3:" in str(caught.value)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_extends_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mappings merge key by key; expressions resolve after the merge."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "arch", "base", "name: base\nclock_hz: 1 GHz\nsize_bytes: 2 * clock_hz\n")
    path = write(tmp_path / "arch", "child", "extends: base\nname: child\nclock_hz: 2 GHz\n")
    got = load_spec(path, Design)
    assert (got.name, got.clock_hz, got.size_bytes) == ("child", 2e9, 4e9)


def test_a_component_with_its_own_base_replaces_the_inherited_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that swaps a part must not inherit fields of the part it swaps out."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "arch/components", "one", "a: 1\nb: 2\n")
    write(tmp_path / "arch/components", "two", "b: 3\n")
    write(tmp_path / "arch", "base", "part: {extends: components/one}\nother: {c: 1, d: 1}\n")
    path = write(
        tmp_path / "arch", "child",
        "extends: base\npart: {extends: components/two}\nother: {d: 2}\n",
    )  # fmt: skip
    assert compose(path).data == {"part": {"b": 3}, "other": {"c": 1, "d": 2}}


def test_an_override_comes_before_expressions(tmp_path: Path) -> None:
    """What depends on the overridden field changes with it."""
    path = write(tmp_path, "d", "name: d\nclock_hz: 1 GHz\nsize_bytes: 2 * clock_hz\n")
    assert load_spec(path, Design, overrides={"clock_hz": "3 GHz"}).size_bytes == 6e9


def test_an_override_leaves_the_file_alone(tmp_path: Path) -> None:
    """Composed files are cached; an override must not leak into the next load."""
    path = write(tmp_path, "d", "name: d\nclock_hz: 1 GHz\nparts: [{kind: ring, radius: 1}]\n")
    load_spec(path, Design, overrides={"clock_hz": "3 GHz"})
    assert compose(path).data["clock_hz"] == "1 GHz"


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("clok_hz", "unknown key `clok_hz`"),
        ("a.b", "unknown key `a`"),
        ("name.b", "`name` is a value"),
    ],
)
def test_an_override_of_nothing_is_refused(tmp_path: Path, field: str, says: str) -> None:
    """A typo in a sweep must not run silently."""
    path = write(tmp_path, "d", "name: d\nclock_hz: 1 GHz\n")
    with pytest.raises(ConfigError, match=says):
        load_spec(path, Design, overrides={field: 1})


def test_extending_in_a_circle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain is named."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "arch", "a", "extends: b\nname: a\n")
    path = write(tmp_path / "arch", "b", "extends: a\nname: b\n")
    with pytest.raises(ConfigError, match="comes back to itself: b -> a -> b"):
        load_spec(path, Design)


def test_a_missing_base_is_located(tmp_path: Path) -> None:
    """At the line that names it."""
    path = write(tmp_path, "d", "name: d\nextends: nothing-like-it\n")
    with pytest.raises(ConfigError, match=r"d\.yaml:2:10: extends: unknown architecture"):
        load_spec(path, Design)


def test_an_edited_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own edit, and one of a file that it extends, in the same process."""
    monkeypatch.chdir(tmp_path)
    base = write(tmp_path / "arch", "base", "name: base\nclock_hz: 1 GHz\n")
    path = write(tmp_path / "arch", "child", "extends: base\nname: child\n")
    assert load_spec(path, Design).clock_hz == 1e9
    base.write_text("name: base\nclock_hz: 20 GHz\n")
    assert load_spec(path, Design).clock_hz == 20e9
    path.write_text("extends: base\nname: grandchild\n")
    assert load_spec(path, Design).name == "grandchild"


def test_a_relative_path_means_a_file_of_the_folder_that_one_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same name in another folder is another file."""
    for name in ("one", "two"):
        write(tmp_path / name, "d", f"name: {name}\nclock_hz: 1 GHz\n")
        monkeypatch.chdir(tmp_path / name)
        assert load_spec(Path("d.yaml"), Design).name == name
