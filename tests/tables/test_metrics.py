"""What DVC reads: our numbers of every table in one JSON, and one CSV a learning curve."""

import csv
import json
import subprocess
from pathlib import Path

import pytest

from captionrl.config import load_paper
from captionrl.errors import UserError
from captionrl.files import HOST
from captionrl.tables.curves import by_phase, curve
from captionrl.tables.metrics import read_tables, write_metrics

ROOT = Path(__file__).parents[2]
PAPER = load_paper(ROOT / "papers/hrl", "mini")
TABLES = [ROOT / f"docs/results/mini/hrl/{name}.csv" for name in ("table1", "table2")]


@pytest.fixture
def curves(tmp_path):
    """Of every phase that a figure shows and two seeds: the second one scores 1 more than the first."""
    files = []
    for corpus, run in PAPER.figures.learners:
        for name, phase in PAPER.lineage(run):
            for seed in (1, 2):
                path = tmp_path / "checkpoints" / corpus / "hrl" / name / phase / f"seed{seed}.csv"
                path.parent.mkdir(parents=True, exist_ok=True)
                rows = [["update", "epoch", "val_cider"], [0, 0.0, seed], [10, 0.5, seed + 0.5], [20, 1.0, seed + 0.25]]
                if phase == "rl":
                    rows = [[*row, value] for row, value in zip(rows, ("train_reward", seed, 2, 3), strict=True)]
                path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
                files.append(path)
    return list(dict.fromkeys(files))


def test_every_number_of_ours_and_no_cited_one_is_there():
    metrics = read_tables(TABLES)
    assert set(metrics) == {"table1", "table2"}
    for path in TABLES:
        with open(path, encoding="utf-8") as file:
            rows = {row["method"]: row for row in csv.DictReader(file)}
        assert set(metrics[path.stem]) == {name for name, row in rows.items() if row["source"] == "ours"}
        names = list(map(str, PAPER.tables[path.stem].metrics))
        for method, numbers in metrics[path.stem].items():
            assert numbers == {name: float(rows[method][name]) for name in names}


def test_what_could_not_be_computed_is_left_out(tmp_path):
    columns = "method,source,METEOR,METEOR_low,SPICE,SPICE_low"
    (tmp_path / "t.csv").write_text(f"{columns}\nXE,ours,25.0,24.0,n/a (no models),\nNIC,cited,23.7,,19.0,\n")
    assert read_tables([tmp_path / "t.csv"]) == {"t": {"XE": {"METEOR": 25.0}}}


@pytest.mark.parametrize("row", ["XE,ours,much,24.0", "XE"])
def test_what_is_no_table_is_named(tmp_path, row):
    header = "method,source,METEOR,METEOR_low" if "," in row else "method"
    (tmp_path / "t.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(UserError, match=r"t\.csv: no table of captionrl \("):
        read_tables([tmp_path / "t.csv"])


def test_curves_of_several_lengths_are_named(tmp_path, curves):
    (path, *_) = [path for path in curves if "rl-baseline" in path.parts]
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"seed2\.csv: validated at other epochs than .*seed1\.csv; train both again"):
        write_metrics(PAPER, TABLES, curves, tmp_path / "metrics.json")


def test_a_phase_that_stops_early_is_as_long_as_its_shortest_seed(tmp_path, curves):
    xe = PAPER.phases["xe"].model_copy(update={"early_stopping": 2})
    paper = PAPER.model_copy(update={"phases": {**PAPER.phases, "xe": xe}})
    (path,) = [p for p in curves if p.parts[-5:] == ("charades-mini", "hrl", "xe-baseline", "xe", "seed2.csv")]
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    write_metrics(paper, TABLES, curves, tmp_path / "metrics.json")
    assert (tmp_path / "curves/charades-mini-rl-baseline.csv").read_text() == (
        "update,CIDEr-D,train_reward,run,phase\n"
        "0,1.5000,,xe-baseline,xe\n10,2.0000,,xe-baseline,xe\n"
        "10,1.5000,1.5000,rl-baseline,rl\n20,2.0000,2.0000,rl-baseline,rl\n30,1.7500,3.0000,rl-baseline,rl\n"
    )
    parts = curve(paper, "charades-mini", "rl-baseline", by_phase(curves))
    assert [part.epochs.tolist() for part in parts] == [[0, 0.5], [0.5, 1, 1.5]]
    assert parts[0].scores.tolist() == [[1, 1.5], [2, 2.5]]


def test_equal_tables_give_equal_bytes(tmp_path, curves):
    write_metrics(PAPER, TABLES, curves, tmp_path / "a/metrics.json")
    write_metrics(PAPER, TABLES[::-1], curves[::-1], tmp_path / "b/metrics.json")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert files == [*sorted(Path("curves", f"{c}-{r}.csv") for c, r in PAPER.figures.learners), Path("metrics.json")]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert json.loads((tmp_path / "a/metrics.json").read_text()) == read_tables(TABLES)


def test_a_curve_is_the_mean_over_seeds_and_goes_on_from_phase_to_phase(tmp_path, curves):
    write_metrics(PAPER, TABLES, curves, tmp_path / "metrics.json")
    assert (tmp_path / "curves/charades-mini-rl-baseline.csv").read_text() == (
        "update,CIDEr-D,train_reward,run,phase\n"
        "0,1.5000,,xe-baseline,xe\n10,2.0000,,xe-baseline,xe\n20,1.7500,,xe-baseline,xe\n"
        "20,1.5000,1.5000,rl-baseline,rl\n30,2.0000,2.0000,rl-baseline,rl\n40,1.7500,3.0000,rl-baseline,rl\n"
    )


def test_a_third_phase_goes_on_from_the_second(tmp_path):
    paper = load_paper(ROOT / "papers/e2e", "mini")
    files = []
    for corpus, run in paper.figures.learners:
        for name, phase in paper.lineage(run):
            path = tmp_path / "checkpoints" / corpus / "e2e" / name / phase / "seed1.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("update,val_cider\n0,1.0\n10,2.0\n")
            files.append(path)
    write_metrics(paper, [], list(dict.fromkeys(files)), tmp_path / "metrics.json")
    with open(tmp_path / "curves/msvd-mini-e2e.csv", encoding="utf-8") as file:
        rows = [(int(row["update"]), row["phase"]) for row in csv.DictReader(file)]
    assert rows == [(0, "xe"), (10, "xe"), (10, "rfc-plus"), (20, "rfc-plus"), (20, "e2e"), (30, "e2e")]


def test_a_missing_curve_is_named(tmp_path, curves):
    rest = [path for path in curves if "rl-baseline" not in path.parts]
    with pytest.raises(UserError, match="hrl/rl-baseline/rl on charades-mini: no validation curve"):
        write_metrics(PAPER, TABLES, rest, tmp_path / "metrics.json")


@pytest.mark.parametrize("phases", [2, 3])
def test_no_phase_is_drawn_over_an_earlier_one(tmp_path, curves, monkeypatch, phases):
    lineage = [("xe-baseline", "xe"), ("rl-baseline", "rl"), ("rl-baseline", "rl")][:phases]
    monkeypatch.setattr(type(PAPER), "lineage", lambda *_: lineage)
    write_metrics(PAPER, TABLES, curves, tmp_path / "metrics.json")
    rows = (tmp_path / "curves/charades-mini-rl-baseline.csv").read_text().splitlines()[1:]
    updates = [int(row.split(",")[0]) for row in rows]
    assert updates == sorted(updates)
    assert updates[-1] == 20 * phases


def test_what_killed_ones_left_among_the_curves_goes(tmp_path, curves):
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "curves").mkdir()
    left = tmp_path / f"curves/.{gone.pid}.{HOST}.charades-mini-xe-baseline.csv"
    left.touch()
    write_metrics(PAPER, TABLES, curves, tmp_path / "metrics.json")
    assert not left.exists()
    assert list((tmp_path / "curves").iterdir())
