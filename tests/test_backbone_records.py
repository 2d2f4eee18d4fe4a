"""Every backbone has one record, from which names, files and weights follow; names lead to no other folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from captionrl.config.backbones import (
    BACKBONES,
    FEATURES,
    FRAMES,
    WORD,
    Download,
    Installed,
    backbone_spec,
    check_features,
    file_name,
    given_weights,
    is_extracted,
    is_imported,
)
from captionrl.datasets.manifest import manifest
from captionrl.dotted import load_object

PAST = [
    "resnet152", "resnet152-whole", "resnet101-grid", "vgg16", "bottomup", "mini", "mini-grid", "annotations",
    "inception-resnet-v2-frames", "mini-frames",
]  # fmt: skip
TIMM = "timm:vit_small_patch14_dinov2.lvd142m"
CLIP = "open_clip:ViT-B-32/laion2b_s34b_b79k"
NAMES = [
    *FEATURES, TIMM, f"{TIMM}@grid7", f"{TIMM}@grid14", f"{TIMM}{FRAMES}", CLIP, f"{CLIP}@grid7", "timm:a-b", "timm:a",
    "own:a", "own:a-b", "own:mini",
]  # fmt: skip
BAD = [
    "", "vgg", "timm:", "timm:../../x", "timm:a/b", "timm:a--b", "timm:a..b", "timm:.a", "timm:a@grid0", "timm:a@grid",
    "timm:a@grid100", "timm:a b", "timm:a\n", "open_clip:a", "open_clip:a/", "open_clip:../a", "open_clip:a/../b",
    "open_clip:a/b/c", "hf:a", "mini@grid7", "vgg16-frames", "mini-grid-frames", f"{CLIP}-frames",
    "timm:a@grid7-frames", "bottomup-frames", "timm:hf-hub:a/b", "/etc/passwd",
    "own:", "own:A", "own:a_b", "own:../a", "own:a-frames", "own:a--b",
]  # fmt: skip


@pytest.mark.parametrize("spec", BACKBONES.values(), ids=BACKBONES)
def test_a_record_is_complete(spec):
    assert BACKBONES[spec.name] is spec is backbone_spec(spec.name)
    assert callable(load_object(spec.loader))
    assert spec.facts.dim > 0
    assert spec.facts.size <= (spec.facts.shorter or spec.facts.size)
    assert isinstance(spec.weights, Download | Installed)
    assert bool(spec.grid) == spec.name.endswith("-grid")
    assert not (spec.grid and spec.trainable)


def test_weights_that_are_downloaded_are_those_of_the_manifest():
    files = {spec.weights.file for spec in BACKBONES.values() if isinstance(spec.weights, Download)}
    assert files == {entry.name for entry in manifest()["weights"]} == {entry.into for entry in manifest()["weights"]}


def test_no_name_of_before_is_lost():
    assert set(PAST) <= set(FEATURES)
    assert [check_features(name) for name in FEATURES] == FEATURES


def test_no_backbone_is_named_elsewhere_in_code_and_rules():
    """But in examples, and where a new project's is chosen."""
    root = Path(__file__).parents[1]
    files = [*(root / "src/captionrl").rglob("*.py"), *(root / "workflow/rules").glob("*.smk"), root / "Snakefile"]
    names = "|".join(re.escape(name) for name in BACKBONES if name != "mini")
    found = set()
    for path in files:
        text = re.sub(r"EXAMPLE = \(.*?\n\)|EXAMPLE = .*", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        found |= {path.relative_to(root).as_posix() for _ in re.finditer(rf"[\"'|]({names})({FRAMES})?[\"'|]", text)}
    assert "src/captionrl/config/backbones.py" in found
    assert found <= {"src/captionrl/config/backbones.py", "src/captionrl/project/__init__.py"}


def test_each_name_has_one_way_to_its_features():
    """Imported, extracted, made from annotation, or frames."""
    imported, extracted = ({name for name in NAMES if kind(name)} for kind in (is_imported, is_extracted))
    assert imported == {"bottomup", "own:a", "own:a-b", "own:mini"}
    frames = {name for name in NAMES if name.endswith(FRAMES)}
    assert set(NAMES) - imported - extracted - frames == {"annotations"}
    assert not imported & extracted | frames & (imported | extracted)


def test_configuration_imports_no_torch():
    code = "import sys, captionrl.config; assert not {'torch', 'timm', 'open_clip', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(ValueError, match=r"no backbone is called|cannot be trained|what follows own: must be"):
        check_features(name)


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(ValueError, match="'efficientnet-lite'; did you mean 'efficientnet-lite0'"):
        backbone_spec("efficientnet-lite")


def test_names_of_libraries_are_taken_apart():
    spec = backbone_spec(f"{TIMM}@grid7")
    assert (spec.model, spec.grid, spec.trainable) == ("vit_small_patch14_dinov2.lvd142m", 7, False)
    assert backbone_spec(f"{TIMM}{FRAMES}") == backbone_spec(TIMM)
    assert backbone_spec(TIMM).trainable
    assert backbone_spec(CLIP).model == "ViT-B-32/laion2b_s34b_b79k"


def test_file_names_are_plain_and_different():
    files = [file_name(name) for name in NAMES]
    assert len(set(files)) == len(set(NAMES)) == len(NAMES)
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*", file) and ".." not in file for file in files)
    assert file_name(CLIP) == "open_clip--ViT-B-32--laion2b_s34b_b79k"
    assert all(file_name(name) == name for name in FEATURES)


def test_no_name_has_the_file_name_of_another():
    """A file's name leads back: its library, and with `--` twice in it a tag."""
    assert "--" not in "".join(FEATURES)
    assert re.fullmatch(WORD, "a--b") is None
    back = {}
    for name in NAMES:
        library, *parts = file_name(name).split("--")
        back[name] = f"{library}:{'/'.join(parts)}" if parts else library
    assert all(name == found for name, found in back.items())


def test_real_models_of_the_libraries_can_be_named():
    import captionrl.features.libraries as libraries

    models = [*libraries.timm.list_models(), *libraries.timm.list_pretrained()]
    assert len(models) > 1000
    assert [model for model in models if backbone_spec(f"timm:{model}").model != model] == []


def test_weights_of_params_are_of_a_backbone_its_grid_and_its_frames():
    weights = {TIMM: "a.safetensors", f"{TIMM}@grid7": "b.safetensors", "mini": "c.safetensors"}
    names = [TIMM, f"{TIMM}{FRAMES}", f"{TIMM}@grid7", f"{TIMM}@grid3", "mini", "mini-frames", "mini-grid", CLIP]
    found = [given_weights(name, weights) for name in names]
    a, b, c = weights.values()
    assert found == [a, a, b, a, c, c, None, None]
