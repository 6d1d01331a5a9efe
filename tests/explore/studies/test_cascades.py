"""Studies of cascades on several arrays: FuseMax's published rows, and what a study may say."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest

from accelsim.errors import ConfigError
from accelsim.explore.papers import load_paper
from accelsim.explore.published import reproduce
from accelsim.explore.studies import load_study, study_axes, study_rows
from accelsim.explore.studies.cascades import Study, part_cost

STUDY = "papers/components/studies/fusemax"
PUBLISHED = Path(__file__).parent / "fusemax_published.csv"
LENGTHS = (1024, 4096, 16384, 65536, 262144, 1048576)


def published() -> list[dict[str, Any]]:
    """Return the artifact's rows of attention: 5 designs, 4 models, 6 lengths."""
    lines = [x for x in PUBLISHED.read_text(encoding="utf-8").splitlines() if x[0] != "#"]
    texts = ("design", "model")
    return [
        {key: text if key in texts else float(text) for key, text in row.items()}
        for row in csv.DictReader(lines)
    ]


@pytest.fixture(scope="module")
def study() -> Study:
    loaded = load_study(STUDY)
    assert isinstance(loaded, Study)
    return loaded


@pytest.fixture(scope="module")
def ours(study: Study) -> dict[tuple[str, str, str, int], dict[str, Any]]:
    rows: list[dict[Any, Any]] = study_rows(study).to_dict("records")
    return {(r["mapping"], r["arch"], r["model"], r["seq_len"]): r for r in rows}


def test_every_row_is_there(
    study: Study, ours: dict[tuple[str, str, str, int], dict[str, Any]]
) -> None:
    """Two kinds, five designs, four models, six lengths; axes as announced."""
    assert len(published()) == 120
    assert len(ours) == 240
    assert study_axes(study)["seq_len"] == LENGTHS
    assert all(row["status"] == "done" for row in ours.values())


@pytest.mark.parametrize("design", ["unfused", "flat", "cascade", "architecture", "fusemax"])
def test_time_traffic_and_use_of_arrays_are_the_published_ones(
    ours: dict[tuple[str, str, str, int], dict[str, Any]], design: str
) -> None:
    """To rounding, in all 24 rows; no traffic is given."""
    rows = [row for row in published() if row["design"] == design]
    assert len(rows) == 24
    for row in rows:
        mine = ours["attention", design, row["model"], int(row["seq_len"])]
        assert mine["latency_s"] == pytest.approx(row["latency_s"], rel=1e-12)
        assert mine["dram_bytes"] == pytest.approx(row["dram_bytes"], rel=1e-12)
        assert mine["busy.array_2d"] == pytest.approx(row["busy_2d"], rel=1e-12)
        assert mine["busy.array_1d"] == pytest.approx(row["busy_1d"], rel=1e-12)


def test_energies_and_their_ratios_are_within_five_percent(
    ours: dict[tuple[str, str, str, int], dict[str, Any]],
) -> None:
    """Two calibration scalars, each set on one row; the other 118 totals are predictions."""
    theirs = {(r["design"], r["model"], int(r["seq_len"])): r["energy_pj"] for r in published()}
    mine = {key[1:]: 1e12 * r["energy_j"] for key, r in ours.items() if key[0] == "attention"}
    assert mine["fusemax", "BERT", 1024] == pytest.approx(theirs["fusemax", "BERT", 1024], 1e-4)
    assert mine["unfused", "BERT", 1024] == pytest.approx(theirs["unfused", "BERT", 1024], 1e-4)
    for key, energy_pj in theirs.items():
        assert mine[key] == pytest.approx(energy_pj, rel=0.05), key
        if key[0] in ("flat", "unfused"):
            best = ("fusemax", *key[1:])
            ratio = theirs[best] / energy_pj
            assert mine[best] / mine[key] == pytest.approx(ratio, rel=0.04), key


@pytest.mark.parametrize(
    ("model", "latency_s", "traffic", "energy_pj"),
    [
        # end2end-flat.csv at 77f182b: the products of a layer at 1K tokens, batch 64.
        ("BERT", 0.0075296680851063835, 1826095104, 8405303925584.939),
        ("TrXL", 0.013386076595744683, 2441084928, 14896326590478.725),
        ("T5", 0.003485895578457447, 1214251008, 3758908605540.555),
    ],
)
def test_products_of_a_layer_follow_from_the_same_model(
    study: Study, model: str, latency_s: float, traffic: float, energy_pj: float
) -> None:
    """T5's are bound by memory, the others by the array; no scalar was set on these energies."""
    found = part_cost(study, "flat", "linears", model, 1024)
    assert found.latency_s == pytest.approx(latency_s, rel=1e-12)
    assert found.dram_bytes == pytest.approx(traffic, rel=1e-12)
    assert found.total_pj == pytest.approx(energy_pj, rel=0.005)


@pytest.mark.parametrize(
    ("pes", "traffic", "latency_s", "area_um2"),
    [
        # pareto.csv at 623de0a: BERT at 256K tokens, batch 64.
        (16, 422264004673536, 30266.668803268083, 5441230.48908),
        (32, 211157772140544, 7566.8813780425535, 20315554.014039997),
        (64, 105604655874048, 1891.8274331234043, 78369596.31228),
        (128, 52828097740800, 473.010402587234, 307907612.38012),
        (256, 26439818674176, 118.2793728, 1220894441.8412402),
        (512, 6648609374208, 29.583229276595745, 4885081008.9724),
    ],
)
def test_arrays_of_other_sizes(
    sizes: dict[str, dict[str, Any]], pes: int, traffic: float, latency_s: float, area_um2: float
) -> None:
    """The tile follows from the smaller buffer; areas of buffers are scaled from one size."""
    row = sizes[f"fusemax-{pes}"]
    assert row["dram_bytes"] == pytest.approx(traffic, rel=1e-12)
    assert row["latency_s"] == pytest.approx(latency_s, rel=1e-12)
    assert row["area_mm2"] == pytest.approx(area_um2 / 1e6, rel=0.01)


@pytest.fixture(scope="module")
def sizes() -> dict[str, dict[str, Any]]:
    rows: list[dict[Any, Any]] = study_rows(load_study(f"{STUDY}-area")).to_dict("records")
    return {row["arch"]: row for row in rows if row["model"] == "BERT"}


def test_a_paper_of_cascades_needs_no_sweep(tmp_path: Path) -> None:
    """Its figures come from the study's rows; a tile that does not fit is told as the reason."""
    study = tmp_path / "small.yaml"
    study.write_text(
        "kind: cascades\nname: small\nsource: none\nbatch: 1\nseq_len: [1024]\n"
        "models: {bert: {}}\nrows: {attention: [attention]}\n"
        "designs:\n"
        "  good:\n"
        "    device: spatial/components/fusemax\n"
        "    policies: {attention: components/cascade-fusemax}\n"
        "  tiny:\n"
        "    device: spatial/components/fusemax\n"
        "    device_change: {buffer.capacity: 1024}\n"
        "    policies: {attention: components/cascade-fusemax}\n",
        encoding="utf-8",
    )
    paper = tmp_path / "demo.yaml"
    figure = "source: Fig. 1\n    metric: latency_s\n    tier: exact\n    why: no reason at all\n"
    paper.write_text(
        f"name: demo\ntitle: D\nsource: none\nabout: none\nstudies: [{study}]\nfigures:\n"
        f"  - name: one\n    published: 2\n    of: {{arch: good}}\n    {figure}"
        f"  - name: two\n    published: 2\n    of: {{arch: tiny}}\n    {figure}",
        encoding="utf-8",
    )
    found = reproduce(load_paper(paper), tmp_path, quiet=True)
    assert found.counts == {"done": 1, "infeasible": 1}
    assert found.answers[0].ours is not None
    assert found.answers[1].ours is None
    assert "short by" in found.answers[1].reason


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("arch: fusemax}", "arch: fusemex}", "did you mean `fusemax`"),
        ("seq_len: 1024", "seq_len: 1000", "no point of the sweeps has seq_len `1000`"),
        (STUDY, f"{STUDY}-none", "no such file"),
    ],
)
def test_figures_of_studies_are_checked_as_those_of_sweeps(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    """Before anything runs."""
    text = (
        f"name: demo\ntitle: D\nsource: none\nabout: none\nstudies: [{STUDY}]\nfigures:\n"
        "  - {name: one, published: 2, source: f, metric: dram_bytes, tier: exact, why: none,\n"
        "     of: {seq_len: 1024, arch: fusemax}}\n"
    )
    assert old in text
    file = tmp_path / "demo.yaml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_paper(file)


def test_all_published_rows_take_less_than_a_second(study: Study) -> None:
    """The artifact's flow takes nine hours."""
    small = study.model_copy(update={"rows": {"attention": ("attention",)}})
    study_rows(small)
    fastest = min(_timed(small) for _ in range(3))
    assert fastest < 1.0


def _timed(study: Study) -> float:
    started = time.process_time()
    assert len(study_rows(study)) == 120
    return time.process_time() - started


def test_cases_apply_where_they_are_met(study: Study) -> None:
    """The later over the earlier: XLM's tile over that of all models at the length."""
    tiles = {
        model: part_cost(study, "unfused", "attention", model, 262144).groups[0].tiling.tiles["p"]
        for model in ("BERT", "XLM")
    }
    assert tiles == {"BERT": 32768, "XLM": 16384}
    longer = part_cost(study, "unfused", "attention", "BERT", 1048576)
    assert longer.groups[0].tiling.tiles["p"] == 131072


def test_a_part_without_a_policy_is_named(tmp_path: Path) -> None:
    """With file and line, before anything runs."""
    file = tmp_path / "study.yaml"
    file.write_text(
        "kind: cascades\nname: s\nsource: none\nbatch: 1\nseq_len: [16]\nmodels: {a: {}}\n"
        "rows: {all: [attenton]}\n"
        "designs: {d: {device: x, policies: {attention: y}}}\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError, match="no policy for the part `attenton`"):
        load_study(file)
