"""Which decodings of a run a table and a figure may show, and what they are compared with."""

import sys
from pathlib import Path

import pytest
import yaml

from captionrl.config import is_described, is_set, load_paper, split_system, stage_of
from captionrl.errors import UserError

PAPERS = Path(__file__).parents[1] / "papers"
TABLE = {"title": "t", "corpus": "coco", "metrics": ["CIDEr-D"], "baseline": "xe", "control": "compute-matched"}


@pytest.fixture(autouse=True)
def without_tables_and_figures(tmp_path, monkeypatch):
    for name in ("policy_value", "stackcap"):
        (tmp_path / name).mkdir()
        for file in ("paper.yaml", "mini.yaml"):
            facts = yaml.safe_load((PAPERS / name / file).read_text())
            for key in ("figures", "reward_model", "look_ahead", "leaderboards", "tables"):
                facts.pop(key, None)
            (tmp_path / name / file).write_text(yaml.safe_dump(facts | {"tables": {}}))
    monkeypatch.setattr(sys.modules[__name__], "PAPERS", tmp_path)


def table(*systems):
    rows = [{"method": system, "run": system} for system in systems]
    return {"tables": {"t": {**TABLE, "rows": rows}}}


def figure(*systems):
    methods = [{"method": system, "run": system} for system in systems]
    return {"figures": {"examples": {"f": {"title": "t", "corpus": "coco", "methods": methods}}}}


def load(overrides, look_ahead=0.5, paper="policy_value"):
    return load_paper(PAPERS / paper, "mini", {**overrides, "look_ahead": look_ahead})


@pytest.mark.parametrize(
    ("system", "parts", "of_set", "stage", "described"),
    [
        ("xe", ("xe", ""), False, None, True),
        ("xe.stage1", ("xe", "stage1"), False, 1, True),
        ("xe.greedy", ("xe", "greedy"), False, None, False),
        ("xe.lookahead", ("xe", "lookahead"), False, None, False),
        ("xe.reranked", ("xe", "reranked"), False, None, False),
        ("xe.sample", ("xe", "sample"), True, None, False),
    ],
)
def test_a_systems_name_says_how_it_is_decoded(system, parts, of_set, stage, described):
    found = (split_system(system), is_set(system), stage_of(system), is_described(system))
    assert found == (parts, of_set, stage, described)


def test_greedy_captions_are_compared_with_greedy_ones_and_those_of_look_ahead_with_a_beam_searchs():
    paper = load(table("joint", "joint.greedy", "joint.lookahead"))
    assert paper.systems_of("t") == [
        "joint", "xe", "compute-matched", "joint.greedy", "xe.greedy", "compute-matched.greedy", "joint.lookahead"
    ]  # fmt: skip


def test_a_rows_control_may_have_a_decoding_of_its_own():
    overrides = table("joint.lookahead", "joint.greedy")
    overrides["tables"]["t"]["rows"][0]["control"] = "value-network.lookahead"
    paper = load(overrides)
    assert "value-network.lookahead" in paper.systems_of("t")
    overrides["tables"]["t"]["rows"][0]["control"] = "xe.lookahead"
    with pytest.raises(UserError, match=r"rows\[0\].control: the value network of xe is not trained"):
        load(overrides)


def test_only_runs_with_a_trained_embedding_rerank():
    assert load(table("xe.reranked")).systems_of("t") == ["xe.reranked", "xe", "compute-matched"]
    overrides = table("no-visual-input.reranked")
    with pytest.raises(UserError, match="the embedding of no-visual-input is not trained; give a run with a phase"):
        load(overrides)


def test_a_figure_shows_greedy_and_look_ahead_captions_as_they_were_predicted():
    figures = load(figure("xe", "joint.greedy", "joint.lookahead", "joint")).figures
    assert figures.captioners == [("coco-mini", "xe"), ("coco-mini", "joint")]
    assert figures.predicted == [("coco-mini", "joint.greedy"), ("coco-mini", "joint.lookahead")]


@pytest.mark.parametrize(("shown", "place"), [(table, "tables.t.rows[0].run"), (figure, "figures.examples.f.methods")])
def test_look_ahead_needs_its_weight(shown, place):
    with pytest.raises(UserError) as error:
        load(shown("joint.lookahead"), look_ahead=None)
    assert place in str(error.value)
    assert "joint.lookahead needs look_ahead, the log-probability's weight in it; add that key" in str(error.value)


def test_only_models_with_a_value_network_look_ahead():
    rows = [{"method": "no", "run": "lstm.lookahead"}]
    tables = {"t": {**TABLE, "baseline": "lstm", "control": "lstm-xe", "rows": rows}}
    with pytest.raises(UserError, match=r"no decoding is called 'lookahead'; there are sample, beam-set, greedy"):
        load({"tables": tables}, paper="stackcap")


@pytest.mark.parametrize("weight", [-0.1, 1.1, "half"])
def test_the_weight_is_a_share(weight):
    with pytest.raises(UserError, match="look_ahead: Input should be"):
        load({}, look_ahead=weight)


def values(run, **changes):
    return {"figures": {"values": {"v": {"title": "t", "corpus": "coco", "run": run, **changes}}}}


def test_the_run_of_a_figure_of_values_captions_its_items():
    paper = load(values("value-network"))
    assert paper.figures.captioners == [("coco-mini", "value-network")]
    assert paper.figures.values["v"].corpus == "coco-mini"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (values("none"), "figures.values.v.run: no run is called 'none'"),
        (values("xe"), "figures.values.v.run: xe has no value network trained on what it is shown; give a run"),
        (
            {**values("cider"), "runs": {"cider": {"visual_input": False}}},
            "cider has no value network trained on what it is shown",
        ),
        (values("value-network", corpus="tgif"), "figures.values.v.corpus: no corpus is called 'tgif'"),
        (values("value-network", items=1), "figures.values.v.items: Input should be greater than or equal to 2"),
    ],
)
def test_a_figure_of_values_needs_a_trained_value_network(overrides, message):
    with pytest.raises(UserError) as error:
        load(overrides)
    assert message in str(error.value)
