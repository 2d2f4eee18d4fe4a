"""Where each setting of a paper comes from: the line of a file, the overrides of params.yaml, or a default."""

import re
from pathlib import Path

import pytest
import yaml

from captionrl.config import render_settings
from captionrl.config.load import resolve
from captionrl.errors import UserError

ROOT = Path(__file__).parents[1]
HRL = ROOT / "papers/hrl"
SETTING = re.compile(r"^ *(?:- )?([^ ]+): .*  # (.+)$")


def settings(text):
    """[(key, place)] of every line that has a place."""
    return [match.groups() for line in text.splitlines() if (match := SETTING.match(line))]


@pytest.mark.parametrize(
    "file", sorted(ROOT.glob("papers/*/*.yaml")), ids=lambda file: f"{file.parent.name}-{file.stem}"
)
def test_it_is_the_resolved_paper_and_every_place_has_its_key(file):
    paper, scale = file.parent, file.stem
    text = render_settings(paper, scale, None, None)
    resolved = resolve(paper, scale, None)
    sizes = {"sizes": resolved.default_sizes | resolved.sizes}
    assert yaml.safe_load(text) == resolved.model_dump(mode="json", by_alias=True) | sizes
    places = settings(text)
    assert all(place == "default" or place.startswith(f"{paper}/") for _, place in places)
    for key, place in places:
        if place != "default":
            file, line = place.rsplit(":", 1)
            assert re.search(rf"\b{key}:", Path(file).read_text(encoding="utf-8").splitlines()[int(line) - 1]), place


def test_the_uppermost_place_is_named(tmp_path):
    paper = tmp_path / "hrl"
    paper.mkdir()
    (paper / "paper.yaml").write_bytes((HRL / "paper.yaml").read_bytes())
    (paper / "mini.yaml").write_text("phases:\n  rl: &rl\n    epochs: 3\n  hrl: { <<: *rl, noise: 1 }\n")
    overrides = {"phases": {"hrl": {"noise": 2, "reward": "BLEU-4"}}}
    places = dict(settings(render_settings(paper, "mini", overrides, "phases.hrl")))
    assert places["epochs"] == f"{paper}/mini.yaml:3"
    assert places["noise"] == places["reward"] == "params.yaml overrides"
    assert places["lr_schedule"] == "default"
    assert places["discount"].startswith(f"{paper}/paper.yaml:")


def test_a_list_of_the_overrides_hides_the_one_below():
    rows = [{"method": "mine", "run": "hrl-16"}]
    text = render_settings(HRL, "paper", {"tables": {"table1": {"rows": rows}}}, "tables.table1.rows")
    assert text.splitlines()[:3] == ["tables:", "  table1:", "    rows:"]
    assert dict(settings(text)) == {
        "method": "params.yaml overrides",
        "run": "params.yaml overrides",
        "cited": "default",
        "control": "default",
        "note": "default",
    }


def test_places_are_aligned():
    lines = render_settings(HRL, "mini", None, "runs.hrl-16").splitlines()
    assert len({line.index("  # ") for line in lines if "#" in line}) == 1
    assert render_settings(HRL, "mini", {"beam": 3}, "beam") == "beam: 3  # params.yaml overrides\n"


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("phases.hlr", "phases.hlr'; phases has xe, rl, boundary-critic, xe-warm, hrl, hrl-no-manager"),
        ("beem", "beem'; it has paper, title, backbone,"),
        ("beam.width", "beam.width'; beam has none"),
        ("phases.", "phases.'; phases has xe,"),
    ],
)
def test_an_unknown_prefix_names_those_there_are(only, message):
    with pytest.raises(UserError) as error:
        render_settings(HRL, "mini", None, only)
    assert str(error.value).startswith(f"{HRL}: no setting '{message}")
