"""What params.yaml and papers/*/*.yaml may say: the first paper's own numbers, and one clear line for every mistake."""

import copy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from captionrl.config import (
    Paper,
    find_paper,
    find_papers,
    load_paper,
    load_params,
    overlay,
    split_system,
    validate_params,
)
from captionrl.errors import UserError

ROOT = Path(__file__).parents[1]
HRL = ROOT / "papers/hrl"
XE = {"objective": "xe", "epochs": 1, "optimiser": "adam", "learning_rate": 0.1}
SCALES = ("mini", "laptop", "paper")  # of the papers; a user's own project is at the scale own

# Table 1 of the paper, as printed: BLEU@4, METEOR, ROUGE-L, CIDEr.
TABLE1 = {
    "Mean-Pooling": [30.4, 23.7, 52.0, 35.0],
    "Soft-Attention": [28.5, 25.0, 53.3, 37.1],
    "S2VT": [31.4, 25.7, 55.9, 35.2],
    "v2t navigator": [40.8, 28.2, 60.9, 44.8],
    "Aalto": [39.8, 26.9, 59.8, 45.7],
    "VideoLAB": [39.1, 27.7, 60.6, 44.1],
    "XE-baseline": [41.3, 27.6, 59.9, 44.7],
    "RL-baseline": [40.6, 28.5, 60.7, 46.3],
    "HRL": [41.3, 28.7, 61.7, 48.0],
}


def leaves(value, *path):
    """{path: value} of every value that is no mapping."""
    if not isinstance(value, dict):
        return {path: value}
    return {place: leaf for key, below in value.items() for place, leaf in leaves(below, *path, key).items()}


def facts(scale, overrides=None):
    """The paper at `scale` as leaves, its corpora named as in the file."""
    paper = load_paper(HRL, scale, overrides).model_dump(by_alias=True)
    paper["corpora"] = {name.removesuffix("-mini"): settings for name, settings in paper["corpora"].items()}
    for table in paper["tables"].values():
        table["corpus"] = table["corpus"].removesuffix("-mini")
    for figures in paper["figures"].values():
        for figure in figures.values():
            figure["corpus"] = figure["corpus"].removesuffix("-mini")
    return leaves(paper)


@pytest.fixture
def document():
    """The first paper's paper.yaml as a mapping, to spoil."""
    return yaml.safe_load((HRL / "paper.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def written(tmp_path):
    """The directory of a paper of these files; of mini.yaml alone it has the first paper's paper.yaml."""

    def write(document=None, mini=None):
        directory = tmp_path / "hrl"
        directory.mkdir(exist_ok=True)
        paper = (HRL / "paper.yaml").read_bytes() if document is None else document
        for name, file in (("paper", paper), ("mini", mini or {}), ("laptop", {})):
            content = file if isinstance(file, bytes) else yaml.safe_dump(file).encode()
            (directory / f"{name}.yaml").write_bytes(content)
        return directory

    return write


def refusal(directory, scale, file="paper.yaml", overrides=None):
    """The one line that a spoilt paper is refused with, behind the name of the file that it must blame."""
    with pytest.raises(UserError) as error:
        load_paper(directory, scale, overrides)
    place = file if overrides else f"{directory / file}: "
    assert str(error.value).startswith(place)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(place)


def spoil(document, path, value):
    *parents, last = path
    for key in parents:
        document = document[key]
    document[last] = value


TABLE2 = {
    "XE-baseline": [55.0, 36.4, 23.6, 15.0, 18.7, 39.0, 16.7],
    "RL-baseline": [57.6, 41.4, 28.0, 18.8, 17.7, 39.8, 21.6],
    "HRL-16": [64.4, 44.3, 29.4, 18.8, 19.5, 41.4, 23.2],
    "HRL-32": [64.0, 43.4, 28.4, 17.9, 19.2, 41.0, 21.3],
    "HRL-64": [61.7, 43.0, 28.8, 18.8, 18.7, 31.2, 23.6],
}


@pytest.mark.parametrize("scale", SCALES)
def test_cited_numbers_are_those_that_the_paper_prints(scale):
    tables = {
        name: table for name, table in load_paper(HRL, scale).tables.items() if any(row.cited for row in table.rows)
    }
    metrics = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D"]
    printed = {
        "table1": (["BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D"], TABLE1, "msrvtt"),
        "table2": (metrics, TABLE2, "charades"),
    }
    if scale == "laptop":  # goals of 32 and 64 have a table of their own
        first = {method: cited for method, cited in TABLE2.items() if method not in ("HRL-32", "HRL-64")}
        printed = {"table2": (metrics, first, "charades"), "goal-sizes": (metrics, TABLE2, "charades")}
    assert tables.keys() == printed.keys()
    for name, table in tables.items():
        cited = {row.method: row.cited for row in table.rows if row.cited}
        assert (table.metrics, cited, table.cited_corpus) == printed[name]
    rows = [row for table in tables.values() for row in table.rows]
    suspected = next(row for row in rows if row.cited and 31.2 in row.cited)
    assert "misprint" in suspected.note


def test_paper_scale_has_the_supplements_numbers():
    paper = load_paper(HRL, "paper")
    assert (paper.backbone, paper.fps, paper.beam) == ("resnet152", 3, 5)
    sizes = paper.sizes_of("hrl-16", "msrvtt")
    assert (sizes.projection, sizes.encoder, sizes.decoder, sizes.embedding) == (512, 512, 1024, 512)
    assert (sizes.dropout, sizes.init) == (0.5, 0.1)
    steps = {name: (corpus.max_frames, corpus.max_words) for name, corpus in paper.corpora.items()}
    assert (steps["msrvtt"], steps["charades"]) == ((50, 30), (150, 60))
    assert (sizes.manager_encoder, sizes.manager, sizes.critic_input) == (256, 256, "current")
    assert {paper.sizes_of(f"hrl-{goal}", "charades").goal == goal for goal in (16, 32, 64)} == {True}
    assert [paper.sizes_of("boundary-critic", corpus).boundary_critic for corpus in ("msrvtt", "charades")] == [128, 64]
    captioning = {name: phase for name, phase in paper.phases.items() if name != "boundary-critic"}
    assert {phase.batch for phase in captioning.values()} == {64}
    assert {phase.clip for phase in captioning.values()} == {10}
    hrl = paper.phases["hrl"]
    assert (hrl.learning_rate, hrl.discount, hrl.weights) == (0.1, 0.95, {"CIDEr-D": 1})
    assert paper.phases["xe-warm"].epochs < paper.phases["xe"].epochs  # section 4.3: "a shorter warm-start period"
    xe = paper.phases["xe"]
    assert (xe.optimiser, xe.learning_rate, xe.lr_patience, xe.validate_every) == ("adadelta", 1, 4, 1)
    assert 0 < xe.scheduled_sampling.start < xe.epochs
    assert xe.scheduled_sampling.per_epoch > 0
    assert paper.phases["rl"].learning_rate == 0.1
    assert paper.start_of("rl-baseline", "rl") == ("xe-baseline", "xe")


def test_the_mini_scale_changes_only_what_its_file_names():
    mini, paper = facts("mini"), facts("paper")
    named = leaves(yaml.safe_load((HRL / "mini.yaml").read_text(encoding="utf-8")))
    added = {path[:2] for path in named} - {path[:2] for path in paper}  # phases, runs and tables of mini.yaml alone
    changed = {path for path in mini if path not in paper or mini[path] != paper[path]}
    assert {path for path in changed if path[:2] not in added} <= named.keys()
    assert {path: mini[path] for path in named if path[:2] not in added} == {
        path: value for path, value in named.items() if path[:2] not in added
    }
    assert mini.keys() >= paper.keys()


def test_corpora_and_tables_carry_mini_in_their_names():
    paper = load_paper(HRL, "mini")
    assert set(paper.corpora) == {"msrvtt-mini", "charades-mini"}
    assert paper.tables["table1"].corpus == "msrvtt-mini"
    assert set(load_paper(HRL, "paper").corpora) == {"msrvtt", "charades"}


def test_the_laptop_scale_changes_only_what_its_file_names_and_null_takes_away():
    laptop, paper = facts("laptop"), facts("paper")
    named = leaves(yaml.safe_load((HRL / "laptop.yaml").read_text(encoding="utf-8")))
    gone = {place for place, value in named.items() if value is None}
    assert {("corpora", "msrvtt"), ("tables", "table1"), ("figures", "examples")} <= gone
    taken = {path for path in paper if any(path[: len(place)] == place for place in gone)}
    assert taken
    assert not taken & laptop.keys()
    assert {path for path in paper.keys() - taken if laptop[path] != paper[path]} <= named.keys()


def test_the_laptop_scale_has_real_data_sets_that_a_laptop_can_hold():
    """All that its papers are about."""
    papers = {path.name: load_paper(path, "laptop") for path in find_papers("laptop")}
    corpora = {
        name: {*paper.corpora, *(table.corpus for table in paper.tables.values())} for name, paper in papers.items()
    }
    assert corpora == {
        "hrl": {"charades-annotations", "msvd-laptop"},
        "e2e": {"msvd-laptop"},
        **{name: {"flickr8k"} for name in ("policy_value", "sle", "stackcap")},
    }
    tables = papers["hrl"].tables
    assert {row.run for name in ("table2", "goal-sizes") for row in tables[name].rows} == {
        row.run for row in load_paper(HRL, "paper").tables["table2"].rows
    }
    assert [name for name, table in tables.items() if table.corpus == "msvd-laptop" and not table.on_request] == []
    for paper in papers.values():  # neither captions nor pictures of these corpora may be passed on
        assert not {*paper.figures.examples, *paper.figures.attention, *paper.figures.stages, *paper.figures.values}
        assert not paper.leaderboards


def test_overrides_lie_over_both_files_and_change_nothing_else():
    overrides = {"beam": 3, "sizes": {"decoder": 7}, "phases": {"rl": {"learning_rate": 0.05}}}
    before, after = facts("mini"), facts("mini", overrides)
    assert {path: after[path] for path in after if after[path] != before[path]} == leaves(overrides)


def test_overlay_changes_neither_side():
    below, above = {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}
    before = copy.deepcopy((below, above))
    merged = overlay(below, above)
    merged["a"]["b"] = 4
    assert merged == {"a": {"b": 4, "c": 2}}
    assert (below, above) == before


def test_null_takes_a_mapping_away_and_is_a_value_in_the_place_of_any_other():
    below = {"a": {"b": {"c": 1}, "d": 2}, "e": {}}
    before = copy.deepcopy(below)
    assert overlay(below, {"a": {"b": None}, "e": None}) == {"a": {"d": 2}}
    assert overlay(below, {"a": {"d": None}}) == {"a": {"b": {"c": 1}, "d": None}, "e": {}}
    assert overlay(below, {"f": None}) == {**below, "f": None}
    assert below == before


def test_overrides_take_away_too_and_what_they_took_from_under_others_is_named():
    figures = {"examples": {"figure7": None}}
    tables = {"table1": None, "greedy": None, "hierarchy": None, "ablations": None, "experiments": None}
    overrides = {"corpora": {"msrvtt": None}, "tables": tables, "figures": figures}
    paper = load_paper(HRL, "mini", overrides)
    assert (set(paper.corpora), set(paper.tables)) == ({"charades-mini"}, {"table2"})
    assert set(paper.figures.examples) == {"figure4"}
    assert load_paper(HRL, "mini", {"figures": None}).figures.names == []

    def complaint(overrides):
        return refusal(HRL, "mini", "params.yaml: overrides.hrl", overrides).lstrip(".: ")

    assert complaint({"corpora": {"msrvtt": None}}) == (
        "tables.table1.corpus: no corpus is called 'msrvtt'; there are charades"
    )
    assert complaint({**overrides, "figures": {}}).startswith("figures.examples.figure7.corpus: no corpus is called")
    assert complaint({"phases": {"rl": None}}).startswith("runs.rl-baseline.phases: no phase is called 'rl'; there are")
    assert complaint({"runs": {"s2vt": None}}).startswith("tables.table1.rows[2].run: no run is called 's2vt'; there")
    assert complaint({"tables": None}) == "tables: is missing; add it"
    null = "but it is null, which takes a mapping away where there is one"
    assert complaint({"tables": {"tabel1": None}}).endswith(f"tabel1: Input should be a valid dictionary, {null}")
    assert complaint({"phases": {"xe": {"epochs": None}}}).endswith(f"epochs: Input should be a valid number, {null}")


@pytest.mark.parametrize("scale", SCALES)
def test_reinforcement_and_its_control_have_equal_budgets(scale):
    paper = load_paper(HRL, scale)
    # As many validations too: each is a chance to find a better checkpoint.
    keys = ("epochs", "batch", "validate_every")
    for corpus in paper.corpora:
        for run, phase, control in (
            ("rl-baseline", "rl", "compute-matched"),
            ("hrl-16", "hrl", "hrl-16-compute-matched"),
        ):
            budgets = [
                (paper.start_of(name, step), *(getattr(paper.phase_of(step, corpus), key) for key in keys))
                for name, step in ((run, phase), (control, paper.runs[control].phases[-1]))
            ]
            assert budgets[0] == budgets[1]


@pytest.mark.parametrize("scale", SCALES)
def test_all_rows_of_a_table_share_their_sizes_and_warm_start(scale):
    paper = load_paper(HRL, scale)
    for name, table in paper.tables.items():
        if name in ("experiments", "ablations"):  # in which they differ
            continue
        runs = [split_system(row.run)[0] for row in table.rows if row.run]
        configs = [paper.training_config(run, paper.runs[run].phases[0], table.corpus) for run in runs]
        shared: dict[str, object] = {}
        for config in configs:
            for size, value in config["sizes"].items():
                assert size == "goal" or shared.setdefault(size, value) == value  # goals are what HRL's rows are about
        assert all(config["corpus"] == configs[0]["corpus"] for config in configs)
        from_nothing = {paper.runs[run].phases[0] for run in runs if paper.runs[run].start is None}
        assert from_nothing == {"xe"}


def test_a_trainings_config_is_what_its_weights_depend_on():
    one = load_paper(HRL, "mini")
    before = one.training_config("xe-baseline", "xe", "msrvtt-mini")
    for key, overrides, changes in (
        ("beam", {"beam": 2}, False),
        ("another phase", {"phases": {"rl": {"epochs": 9}}}, False),
        ("a cited number's table", {"tables": {"table1": {"title": "another"}}}, False),
        ("a width", {"sizes": {"decoder": 9}}, True),
        ("the phase", {"phases": {"xe": {"epochs": 9}}}, True),
        ("the corpus", {"corpora": {"msrvtt": {"max_frames": 9}}}, True),
        ("no-visual-input", {"runs": {"xe-baseline": {"visual_input": False}}}, True),
    ):
        after = load_paper(HRL, "mini", overrides).training_config("xe-baseline", "xe", "msrvtt-mini")
        assert (after != before) == changes, key


def test_a_phase_starts_from_the_one_before_it(document, written):
    document["runs"]["both"] = {"model": "attention", "from": "xe-baseline", "phases": ["xe-continued", "rl"]}
    paper = load_paper(written(document), "paper")
    assert paper.start_of("both", "rl") == ("both", "xe-continued")
    assert paper.start_of("both", "xe-continued") == ("xe-baseline", "xe")
    assert paper.start_of("xe-baseline", "xe") is None


JOINT = {  # a phase of another paper
    "objective": "actor-critic",
    "epochs": 1,
    "optimiser": "adam",
    "learning_rate": 0.01,
    "eos_in_reward": True,
    "reward": "embedding",
    "baseline": "value",
    "steps": None,
}
GREEDY = {key: JOINT[key] for key in ("epochs", "optimiser", "learning_rate", "eos_in_reward")} | {
    "objective": "reinforce",
    "baseline": "greedy",
}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("beem",), 3, "beem: unknown key; did you mean 'beam'?"),
        (("zzz",), 3, "zzz: unknown key; take it out"),
        (("sizes", "projektion"), 3, "sizes.projektion: no run's model has this key; did you mean 'projection'?"),
        (("title",), 3, "title: Input should be a valid string, but it is 3"),
        (("beam",), "wide", "beam: Input should be a valid integer"),
        (("backbone",), "vgg", "backbone: no backbone is called 'vgg'; did you mean 'vgg16'? there are mini, "),
        (("backbone",), "own:My_clip", "backbone: 'own:My_clip': what follows own: must be small letters and digits"),
        (("backbone",), "own:clip-frames", "backbone: 'own:clip-frames': what follows own: must be"),
        (("runs", "xe-baseline", "backbone"), "own:", "runs.xe-baseline.backbone: 'own:': what follows own: must be"),
        (("fps",), 0, "fps: Input should be greater than 0, but it is 0"),
        (("sizes", "dropout"), 1.5, "sizes.dropout: Input should be less than 1, but it is 1.5"),
        (("sizes", "dropout"), -0.5, "sizes.dropout: Input should be greater than or equal to 0"),
        (
            ("corpora", "msrvtt", "max_frames"),
            10**7,
            "corpora.msrvtt.max_frames: Input should be less than or",
        ),
        (("beam",), 10**9, "beam: Input should be less than or equal to 1000, but it is 1000000000"),
        (("corpora", "msrvtt", "max_words"), 0, "corpora.msrvtt.max_words: Input should be greater than or equal to 1"),
        (("corpora",), ["msrvtt"], "corpora: Input should be a valid dictionary"),
        (("phases", "xe", "epoch"), 3, "phases.xe.epoch: unknown key; did you mean 'epochs'?"),
        (("beam",), True, "beam: must be a number, but it is true"),
        (("sizes", "dropout"), False, "sizes: dropout: must be a number, but it is false"),
        (("phases", "xe", "early_stopping"), True, "phases.xe: early_stopping: must be a number, but it is true"),
        (("phases", "rl", "clip"), True, "phases.rl: clip: must be a number, but it is true"),
        (("phases", "xe", "epochs"), -1, "phases.xe.epochs: Input should be greater than 0, but it is -1"),
        (("phases", "xe", "epochs"), float("nan"), "phases.xe.epochs: Input should be"),
        (("phases", "xe", "epochs"), float("inf"), "phases.xe.epochs: Input should be"),
        (
            ("phases", "rl", "baseline"),
            "gredy",
            "phases.rl.baseline: Input should be 'linear', 'greedy', 'leave-one-out' or 'none'",
        ),
        (("phases", "xe", "objective"), "ex", "phases.xe: Input tag 'ex' found"),
        (("phases", "A phase"), {}, "phases.A phase"),
        (("runs", "s2vt", "model"), "s3vt", "runs.s2vt.model: no model is called 's3vt'; there are attention, "),
        (("runs", "s2vt", "phases"), [], "runs.s2vt.phases: List should have at least 1 item"),
        (
            ("runs", "s2vt", "phases"),
            ["ex"],
            "runs.s2vt.phases: no phase is called 'ex'; there are boundary-critic, hrl, hrl-cider, hrl-given-goals, ",
        ),
        (
            ("runs", "rl-baseline", "from"),
            "xe",
            "runs.rl-baseline.from: no run is called 'xe'; there are boundary-critic",
        ),
        (("runs", "rl-baseline", "from"), "s2vt", "runs.rl-baseline.from: s2vt is another model"),
        (("runs", "no-visual-input", "from"), "no-visual-input", "runs.no-visual-input.from: is a cycle of runs"),
        (("tables", "table1"), None, "tables.table1: Input should be a valid dictionary"),
        (("tables",), ["table1"], "tables: Input should be a valid dictionary"),
        (("tables", "table1", "corpus"), "msvd", "tables.table1.corpus: no corpus is called 'msvd"),
        (("tables", "table1", "baseline"), "xe", "tables.table1.baseline: no run is called 'xe'"),
        (("tables", "table1", "metrics", 0), "BLEU", "tables.table1.metrics[0]: Input should be 'BLEU-1'"),
        (("tables", "table1", "rows", 0, "run"), "xe", "tables.table1.rows[0].run: no run is called 'xe'"),
        (("tables", "table1", "rows", 0, "cited"), [1, 2], "tables.table1.rows[0].cited: 2 numbers for 4 metrics"),
        (
            ("tables", "table1", "rows", -1, "method"),
            "XE-baseline",
            "tables.table1.rows[12].method: XE-baseline is another row's; give each its own name",
        ),
        (("tables", "table1", "rows", 3, "cited"), None, "tables.table1.rows[3]: v2t navigator has neither run nor"),
        (
            ("runs", "hrl-32", "from"),
            None,
            "runs.hrl-32.from: is missing; hrl starts from a run of model boundary-critic",
        ),
        (("runs", "hrl-32", "from"), "xe-baseline", "runs.hrl-32.from: xe-baseline is another model"),
        (("runs", "rl-baseline", "from"), "boundary-critic", "runs.rl-baseline.from: boundary-critic is another model"),
        (("runs", "boundary-critic", "from"), "hrl-16", "runs.boundary-critic.from: hrl-16 is another model"),
        (("runs", "s2vt", "phases"), ["hrl"], "runs.s2vt.phases: hrl cannot train s2vt, only hrl"),
        (("runs", "s2vt", "phases"), ["xe", "rl", "xe"], "runs.s2vt.phases: xe stands there twice; give its second"),
        (
            ("runs", "hrl-16", "sizes"),
            {"goal": 0},
            "runs.hrl-16: its sizes have goal: 0, so hrl has nothing to teach the manager; set manager_updates: 0",
        ),
        (
            ("runs", "hrl-16", "phases"),
            ["boundary-critic"],
            "runs.hrl-16.phases: boundary-critic cannot train hrl, only boundary-critic",
        ),
        (
            ("runs", "boundary-critic", "phases"),
            ["rl"],
            "runs.boundary-critic.phases: rl cannot train boundary-critic, only attention, ",
        ),
        (
            ("runs", "hrl-16", "sizes"),
            {"goal": -1},
            "runs.hrl-16.sizes.goal: Input should be greater than or equal to 0, but it is -1",
        ),
        (
            ("corpora", "msrvtt", "sizes"),
            {"boundary_critc": 9},
            "corpora.msrvtt.sizes.boundary_critc: no run's model has this key; did you mean 'boundary_critic'?",
        ),
        (
            ("corpora", "msrvtt", "sizes"),
            {"boundary_critic": "x"},
            "corpora.msrvtt.sizes.boundary_critic: Input should be a valid integer",
        ),
        (("corpora", "msrvtt", "sizes"), [9], "corpora.msrvtt.sizes: Input should be a valid dictionary"),
        (
            ("corpora", "msrvtt", "phases"),
            {"xee": {}},
            "corpora.msrvtt.phases: no phase is called 'xee'; there are boundary-critic",
        ),
        (("corpora", "msrvtt", "phases"), {"xe": 3}, "corpora.msrvtt.phases.xe: Input should be a valid dictionary"),
        (
            ("corpora", "msrvtt", "phases"),
            {"rl": {"epochs": -1}},
            "corpora.msrvtt.phases.rl.epochs: Input should be greater than 0, but it is -1",
        ),
        (
            ("corpora", "msrvtt", "phases"),
            {"xe": {"scheduled_sampling": {"max_probability": 2}}},
            "corpora.msrvtt.phases.xe.scheduled_sampling.max_probability: Input should be less than or equal to 1",
        ),
        (
            ("corpora", "msrvtt", "phases"),
            {"xe": {"objective": "hrl"}},
            "corpora.msrvtt.phases.xe.objective: Input should be 'xe', but it is 'hrl'",
        ),
        (
            ("corpora", "msrvtt", "phases"),
            {"xe-warm": {"boundaries": "truth"}},
            "corpora.msrvtt.phases.xe-warm: boundaries: truth is of the training caption's words; set scheduled_",
        ),
        (("corpora", "msrvtt", "segmentation"), "spacy", "corpora.msrvtt.segmentation: Input should be 'corenlp'"),
        (("corpora", "msrvtt", "backbone"), "vgg", "corpora.msrvtt.backbone: no backbone is called 'vgg'; did you"),
        (("phases", "xe-warm", "boundaries"), "truth", "phases.xe-warm: boundaries: truth is of the training"),
        (("phases", "hrl", "batch"), 1, "runs.hrl-16: hrl has noise on the scale by which goals differ between clips,"),
        (("runs", "hrl-16", "visual_input"), False, "runs.hrl-16: hrl has noise on the scale by which goals differ"),
        (
            ("phases", "xe"),
            XE | {"boundaries": "truth"},
            "phases.xe.boundaries: truth on charades",
        ),
        (("phases", "hrl", "noise"), -1, "phases.hrl.noise: Input should be greater than or equal to 0, but it is -1"),
        (("phases", "hrl", "noise"), float("inf"), "phases.hrl.noise: Input should be a finite number"),
        (("phases", "hrl", "discount"), 2, "phases.hrl.discount: Input should be less than or equal to 1, but it is 2"),
        (
            ("phases", "hrl", "reward"),
            "METER",
            "phases.hrl.reward: no reward is called 'METER'; did you mean 'METEOR'?",
        ),
        (("phases", "hrl", "reward"), "cider", "phases.hrl.reward: no reward is called 'cider'; did you mean 'CIDEr'?"),
        (
            ("phases", "hrl", "reward"),
            "xyz",
            "phases.hrl.reward: no reward is called 'xyz'; there are CIDEr-D, CIDEr, ",
        ),
        (("phases", "hrl", "reward"), 3, "phases.hrl.reward: give the name of a reward, or weights by name, not 3"),
        (("phases", "hrl", "reward"), {"CIDEr-D": True}, "phases.hrl.reward: the weight of CIDEr-D is True; give a"),
        (("phases", "hrl", "reward"), {"a.b:c": "x"}, "phases.hrl.reward: the weight of a.b:c is 'x'; give a finite"),
        (("phases", "hrl", "reward"), {"CIDEr-D": 0, "a:b": 0}, "phases.hrl.reward: all weights are 0; give one"),
        (("phases", "hrl", "reward"), {}, "phases.hrl.reward: all weights are 0; give one that is not"),
        (("phases", "hrl", "reward"), "CLIPScore", "phases.hrl: clip_weights: CLIPScore, and no other reward, needs"),
        (("phases", "hrl", "clip_weights"), "a.pt", "phases.hrl: clip_weights: CLIPScore, and no other reward, needs"),
        (("phases", "rl", "reward"), "embedding", "runs.hrl-16-flat: the reward of rl has an embedding that is not"),
        (
            ("corpora", "msrvtt", "phases"),
            {"rl": {"reward": {"CIDEr-D": 1, "embedding": 1}}},
            "runs.hrl-16-flat: the reward of rl has an embedding that is not trained; let a phase of objective",
        ),
        (("phases", "hrl", "entropy"), 0.1, "phases.hrl.entropy: unknown key; take it out"),
        (
            ("phases", "hrl", "baseline"),
            "leave-one-out",
            "phases.hrl: baseline: leave-one-out is the mean return of a clip's other samples; set samples: 2",
        ),
        (
            ("phases", "xe", "lr_schedule"),
            "step",
            "phases.xe: lr_step: is missing; lr_schedule: step needs it",
        ),
        (
            ("phases", "joint"),
            JOINT | {"lr_schedule": "plateau"},
            "phases.joint: lr_patience: is missing; lr_schedule: plateau needs it",
        ),
        (
            ("phases", "joint"),
            JOINT | {"lr_step": {"factor": 1.0, "every": 2}},
            "phases.joint.lr_step.factor: Input should be less than 1, but it is 1.0",
        ),
        (
            ("phases", "joint"),
            JOINT | {"baseline": "none", "steps": 1},
            "phases.joint: baseline: none leaves the value network out of it; set steps to null",
        ),
        (("phases", "joint"), JOINT | {"steps": 0}, "phases.joint.steps: Input should be greater than 0, but it is 0"),
        (
            ("phases", "joint"),
            JOINT | {"reward": {"embedding": 1, "CIDEr-D": float("nan")}},
            "phases.joint.reward: the weight of CIDEr-D is nan; give a finite number",
        ),
        (
            ("phases", "joint"),
            JOINT | {"baseline": "greedy"},
            "phases.joint.baseline: Input should be 'value' or 'none'",
        ),
        (
            ("phases", "greedy"),
            GREEDY | {"baseline_warmup": 5},
            "phases.greedy: baseline_rate, baseline_warmup: only baseline: linear learns; set that, or leave them out",
        ),
        (
            ("phases", "greedy"),
            GREEDY | {"baseline_rate": 10},
            "phases.greedy: baseline_rate, baseline_warmup: only baseline: linear",
        ),
        (("phases", "xe", "dropout"), True, "phases.xe.dropout: unknown key"),
        (
            ("tables", "table1", "comparisons", 0, "run"),
            "hrl",
            "tables.table1.comparisons[0].run: no run is called 'hrl'",
        ),
        (
            ("tables", "table1", "comparisons", 1, "to"),
            "hrl",
            "tables.table1.comparisons[1].to: no run is called 'hrl'",
        ),
        (
            ("tables", "table1", "comparisons", 1, "to"),
            "boundary-critic",
            "tables.table1.comparisons[1].to: boundary-critic writes no captions; give a run",
        ),
        (("tables", "table1", "rows", 12, "control"), "hrl", "tables.table1.rows[12].control: no run is called 'hrl'"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_every_mistake_is_one_line_that_names_the_key(document, written, path, value, message, scale):
    spoil(document, path, value)
    assert refusal(written(document), scale).startswith(message)


@pytest.mark.parametrize("scale", SCALES)
def test_what_a_corpus_and_a_run_say_lies_over_the_papers_sizes_and_phases(document, written, scale):
    document["corpora"]["msrvtt"] |= {"sizes": {"goal": 5, "decoder": 7}, "phases": {"rl": {"epochs": 3}}}
    paper = load_paper(written(document), scale)
    here, there = (name + ("-mini" if scale == "mini" else "") for name in ("msrvtt", "charades"))
    assert {paper.sizes_of(run, here).decoder for run in paper.runs if run != "boundary-critic"} == {7}
    document["runs"]["hrl-16"].pop("sizes")
    assert load_paper(written(document), scale).sizes_of("hrl-16", here).goal == 5
    assert paper.sizes_of("hrl-32", here).goal == 32
    assert paper.sizes_of("xe-baseline", there).decoder == paper.sizes["decoder"]
    assert (paper.phase_of("rl", here).epochs, paper.phase_of("rl", there).epochs) == (3, paper.phases["rl"].epochs)
    assert paper.phase_of("rl", here).model_copy(update={"epochs": 20}) == paper.phases["rl"]
    assert paper.training_config("rl-baseline", "rl", here)["phase"]["epochs"] == 3


def test_only_a_users_own_project_may_lack_a_compute_matched_control(document, tmp_path):
    del document["tables"]["table1"]["control"]
    for table in document["tables"].values():
        table["rows"] = [row for row in table["rows"] if "control" not in row]
        table["comparisons"] = []
    directory = tmp_path / "hrl"
    directory.mkdir()
    for name in ("paper", "own"):
        (directory / f"{name}.yaml").write_text(yaml.safe_dump(document))
    assert refusal(directory, "paper").startswith("tables.table1.control: is missing; add it, the run")
    paper = load_paper(directory, "own")
    needed = {row["run"] for row in document["tables"]["table1"]["rows"] if "run" in row}
    assert set(paper.systems_of("table1")) == needed | {"xe-baseline"}


def test_an_own_yaml_is_a_whole_paper_or_lies_over_one(document, tmp_path):
    directory = tmp_path / "hrl"
    directory.mkdir()
    (directory / "own.yaml").write_text("beam: 2\n")
    assert refusal(directory, "own", "own.yaml") == "paper: is missing; add it"
    (directory / "paper.yaml").write_text(yaml.safe_dump(document))
    paper = load_paper(directory, "own")
    assert (paper.beam, paper.corpora.keys()) == (2, document["corpora"].keys())
    (directory / "own.yaml").write_text(yaml.safe_dump(document))
    (directory / "paper.yaml").unlink()
    assert load_paper(directory, "own") == load_paper(HRL, "paper")


def test_a_paper_is_the_current_folders_or_else_the_packages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = {path.name: path.resolve() for path in find_papers("mini")}
    assert shipped == {path.parent.name: path.parent for path in ROOT.glob("papers/*/mini.yaml")}
    assert find_paper(None, "hrl").resolve() == HRL
    assert find_paper(None, "hlr") == Path("papers/hlr")
    assert find_paper(Path("p"), "hrl") == Path("p/hrl")
    mine = Path("papers/hrl")
    mine.mkdir(parents=True)
    (mine / "mini.yaml").touch()
    assert find_papers("mini") == [mine]
    assert find_paper(None, "hrl") == mine
    with pytest.raises(UserError, match=r"^papers: there is no papers/<paper>/own.yaml; `captionrl init` writes one"):
        find_papers("own")


def test_a_corpus_name_is_one_that_the_rules_know(document, written):
    document["corpora"]["My_clips"] = document["corpora"]["msrvtt"]
    assert refusal(written(document), "paper").startswith("corpora.My_clips: String should match pattern")


@pytest.mark.parametrize("key", ["title", "sizes", "tables"])
def test_a_missing_key_is_named(document, written, key):
    del document[key]
    assert refusal(written(document), "paper") == f"{key}: is missing; add it"


def test_a_longer_cycle_is_refused_too(document, written):
    document["runs"]["xe-baseline"]["from"] = "rl-baseline"
    assert "is a cycle of runs; let one of them start from none" in refusal(written(document), "paper")


def test_a_parent_is_checked_before_what_starts_from_it(document, written):
    document["runs"] = {"first": {"model": "attention", "from": "second", "phases": ["rl"]}, **document["runs"]}
    document["runs"]["second"] = {"model": "attention", "from": "third", "phases": ["xe"]}
    assert refusal(written(document), "paper").startswith("runs.second.from: no run is called 'third'")


@pytest.mark.parametrize(
    ("mini", "message"),
    [
        (["beam"], "must be a mapping of keys to values"),
        ({"corpora": ["msrvtt"]}, "corpora: Input should be a valid dictionary"),
        ({"tables": {"table1": 1}}, "tables.table1: Input should be a valid dictionary"),
        (
            {"tables": {"tabel1": None}},
            "tables.tabel1: Input should be a valid dictionary, but it is null, which takes",
        ),
        ({"corpora": {"charades": None}}, "tables.table2.corpus: no corpus is called 'charades'; there are msrvtt"),
        ({"beem": 3}, "beem: unknown key; did you mean 'beam'?"),
        ({"runs": {"hrl-16": {"from": "s2vt"}}}, "runs.hrl-16.from: s2vt is another model"),
        ({"paper": "e2e"}, "paper: e2e; must be hrl, as the directory is called"),
        (b"beam: [", "line 1: not YAML"),
    ],
)
def test_a_mistake_at_the_mini_scale_names_its_file(written, mini, message):
    assert refusal(written(mini=mini), "mini", "mini.yaml").startswith(message)


def test_a_mistake_that_the_mini_scale_hides_is_the_papers(document, written):
    document["sizes"]["dropout"] = 2
    assert refusal(written(document, {"sizes": {"dropout": 0.1}}), "mini").startswith("sizes.dropout: Input should be")


def test_the_name_of_the_directory_is_the_papers_own(document, written):
    document["paper"] = "e2e"  # rules find papers by the one, and their results by the other
    assert refusal(written(document), "paper").startswith("paper: ")


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("papers/*/*.yaml")), ids=lambda file: f"{file.parent.name}-{file.stem}"
)
def test_an_anchor_serves_one_block_only(file):
    """So that a block can be read, and changed, without the others."""
    text, block, blocks = file.read_text(encoding="utf-8"), None, {}
    starts = {node.start_mark.line: node.value for node, _ in yaml.compose(text).value}
    for event in yaml.parse(text):
        block = starts.get(event.start_mark.line, block) if event.start_mark.column == 0 else block
        if getattr(event, "anchor", None):
            assert blocks.setdefault(event.anchor, block) == block, event.anchor


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"beem": 3}, ".beem: unknown key; did you mean 'beam'?"),
        ({"sizes": {"dropout": 2}}, ": sizes.dropout: Input should be less than 1"),
        ({"phases": ["xe"]}, ".phases: Input should be a valid dictionary"),
    ],
)
def test_a_mistake_in_the_overrides_says_so(overrides, message):
    assert refusal(HRL, "mini", "params.yaml: overrides.hrl", overrides).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "must be a mapping"),
        (b"- hrl", "must be a mapping"),
        (b"paper: hrl\nbeam: [", "line 2: not YAML (did not find expected node content"),
        (b"paper: hrl\nbeam: 5\nbeam: 3", "line 3: not YAML (the key 'beam' stands twice)"),
        (b"sizes: {decoder: 1, decoder: 2}", "line 1: not YAML (the key 'decoder' stands twice)"),
        (b"paper: hrl\ntitle: \xff", "line 2: not UTF-8 (byte 0xff)"),
        (b"title: !!python/object/apply:os.system [ls]", "line 1: not YAML (could not determine a constructor"),
        (b"a: \0", "not YAML (unacceptable character"),
        (b"? [a, b]\n: 1", "line 1: not YAML"),
        (b"title: 2001-02-30", "not YAML"),
        (b"title: !!bool x", "not YAML ('x'); correct it"),
        (b"title: !!timestamp x", "not YAML ("),
        (b"title: !!map x", "line 1: not YAML (expected a mapping node"),
        (b"title: " + b"[" * 100_000 + b"]" * 100_000, "not YAML (nested more than 50 deep)"),
    ],
)
def test_a_file_that_is_no_such_yaml_is_one_line(written, text, message):
    assert refusal(written(text), "paper").startswith(message)


def test_a_missing_paper_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"none/paper\.yaml: no such file"):
        load_paper(tmp_path / "none", "mini")


def test_params_of_the_repository_are_the_defaults():
    assert load_params(ROOT / "params.yaml") == validate_params({})
    assert load_params(ROOT / "params.yaml").scale == "mini"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"sede": [1]}, "sede: unknown key; did you mean 'seeds'?"),
        ({"scale": "big"}, "scale: Input should be 'mini', 'laptop', 'paper' or 'own', but it is 'big'"),
        ({"seeds": []}, "seeds: List should have at least 1 item"),
        ({"seeds": [1, 1]}, "seeds: the same seed twice"),
        ({"seeds": [1, -1]}, "seeds[1]: Input should be greater than or equal to 0, but it is -1"),
        ({"seeds": 3}, "seeds: Input should be a valid list, but it is 3"),
        ({"seeds": ["one"]}, "seeds[0]: Input should be a valid integer"),
        ({"device": "gpu"}, "device: Input should be 'auto', 'cpu' or 'cuda', but it is 'gpu'"),
        ({"allowed_failures": -1}, "allowed_failures: Input should be greater than or equal to 0"),
        ({"features": {"clip": 3}}, "features.clip: Input should be a valid dictionary"),
        ({"features": {"clip": {"fps": 2}}}, "features.clip.path: is missing; add it"),
        (
            {"features": {"clip": {"path": "a", "ids": "same"}}},
            "features.clip.ids: Input should be 'exact' or 'number'",
        ),
        ({"features": {"My clip": "a"}}, "features.My clip"),
        ({"overrides": {"hrl": 3}}, "overrides.hrl: Input should be a valid dictionary"),
    ],
)
def test_every_mistake_in_params_is_one_line(tmp_path, params, message):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    with pytest.raises(UserError) as error:
        load_params(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"^params\.yaml: "):
        validate_params(params)


def test_imported_features_are_a_path_or_more():
    given = {"a": "my/{corpus}/", "b": {"path": "b.npy", "ids_file": "{corpus}.txt", "fps": 2, "grid": 3}}
    features = validate_params({"features": given}).features
    assert features["a"].of("msvd").path == "my/msvd"
    assert features["a"].of("msvd").ids_file is None
    both = features["b"].of("tgif-mini")
    assert (both.path, both.ids_file, both.fps, both.grid, both.ids) == ("b.npy", "tgif-mini.txt", 2, 3, "exact")


def test_papers_are_frozen():
    paper = load_paper(HRL, "mini")
    assert isinstance(paper, Paper)
    with pytest.raises(ValueError, match="frozen"):
        paper.beam = 3


@pytest.fixture
def workflow(tmp_path):
    """A copy of what Snakemake reads; calling it runs `snakemake -n` there."""
    shutil.copy(ROOT / "Snakefile", tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for folder in ("papers", "workflow", "profiles"):
        shutil.copytree(ROOT / folder, tmp_path / folder)

    def dry_run():
        command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1"]
        return subprocess.run(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )

    return dry_run


@pytest.mark.slow
def test_snakemake_plans_the_table(workflow):
    done = workflow()
    assert done.returncode == 0
    assert "results/mini/hrl/table1.csv" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("params.yaml", b"sclae: mini\n", "params.yaml: sclae: unknown key; did you mean 'scale'?"),
        ("params.yaml", b"seeds: [1]\n", "params.yaml: line LAST: not YAML (the key 'seeds' stands twice)"),
        ("params.yaml", b"device: [\n", "params.yaml: line"),
        ("params.yaml", b"# \xff\n", "params.yaml: line LAST: not UTF-8 (byte 0xff)"),
        ("papers/hrl/paper.yaml", b"beem: 3\n", "papers/hrl/paper.yaml: beem: unknown key; did you mean 'beam'?"),
        ("papers/hrl/mini.yaml", b"beem: 3\n", "papers/hrl/mini.yaml: beem: unknown key; did you mean 'beam'?"),
    ],
    ids=["unknown key", "key twice", "bad YAML", "not UTF-8", "unknown key of a paper", "unknown key of a scale"],
)
def test_snakemake_refuses_a_mistake_in_one_clear_line(workflow, tmp_path, file, text, message):
    content = (tmp_path / file).read_bytes() + text
    (tmp_path / file).write_bytes(content)
    done = workflow()
    assert done.returncode != 0
    message = message.replace("LAST", str(content.count(b"\n")))
    assert [line for line in done.stdout.splitlines() if line.startswith(message)]
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_snakemake_refuses_a_paper_that_is_called_as_a_rule_is(workflow, tmp_path):
    (tmp_path / "papers/sle").rename(tmp_path / "papers/train")
    settings = tmp_path / "papers/train/paper.yaml"
    settings.write_text(settings.read_text().replace("paper: sle\n", "paper: train\n"))
    done = workflow()
    assert done.returncode != 0
    said = "papers/train: a rule of the workflow is so called; give the paper another name"
    assert [line for line in done.stdout.splitlines() if line.startswith(said)]
    assert "Traceback" not in done.stdout
