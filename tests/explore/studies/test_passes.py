"""Studies of passes: words of algorithms at several lengths."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelsim.errors import ConfigError
from tests.explore.studies.studying import rows_of_text

STUDY = """\
kind: passes
name: small
source: none
seq_len: [256, 1024]
algorithms:
  unfused: {model: attention-3-pass, rank: m, keep: [QK, SN], per: QK}
  recomputing: {model: attention-3-pass, rank: m, per: QK}
  one-pass: {model: attention-1-pass, rank: m, per: QK}
"""


def test_what_is_kept_is_moved(tmp_path: Path) -> None:
    """12 heads of 64: scores and their softmax go to and fro, or keys come three times."""
    rows = {(r["mapping"], r["seq_len"]): r for r in rows_of_text(tmp_path, STUDY)}
    for n in (256, 1024):
        vectors, scores = 12 * n * 64, 12 * n * n
        assert rows["unfused", n]["words"] == 4 * vectors + 4 * scores
        assert rows["recomputing", n]["words"] == 6 * vectors
        assert rows["one-pass", n]["words"] == 4 * vectors
        assert rows["one-pass", n]["words_per_element"] == pytest.approx(4 * 64 / n)
    assert rows["unfused", 256]["passes"] == 3
    assert rows["one-pass", 256]["passes"] == 1
    assert rows["one-pass", 1024]["held_words"] == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("per: QK}", "per: QL}", "has no `QL`; did you mean `Q`"),
        ("rank: m, per", "rank: z, per", "`attention-3-pass` has no `z`"),
        ("[QK, SN]", "[QK, SX]", "no tensor `SX`; Legal: A, AV"),
    ],
)
def test_names_of_the_cascade_are_checked(tmp_path: Path, old: str, new: str, said: str) -> None:
    """At their lines, before anything is counted."""
    assert old in STUDY
    with pytest.raises(ConfigError, match=rf"study.yaml:[67]:\d+: algorithms.*{said}"):
        rows_of_text(tmp_path, STUDY.replace(old, new, 1))
