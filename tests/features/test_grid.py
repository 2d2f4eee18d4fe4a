import os
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from captionrl.config.backbones import BACKBONES
from captionrl.features import store as module
from captionrl.features.backbones import Grid, load_backbone, load_mini, normalise
from captionrl.features.extract import extract
from captionrl.features.resize import Resize, resize_of
from captionrl.features.store import FeatureStore, write_store
from captionrl.features.video import sample_frames

MEAN_STD = BACKBONES["mini"].facts.mean, BACKBONES["mini"].facts.std
ATTRIBUTES = {"backbone": "x", "weights_sha256": "ab", "fps": 3.0, "transform": "x", "code_version": "1", "dim": 8}


def test_cells_are_means_of_equal_parts_row_by_row():
    images = torch.rand(2, 3, 12, 8)
    rows = Grid(nn.Identity(), 4)(images)
    assert rows.shape == (2 * 4 * 4, 3)
    for image in range(2):
        for y in range(4):
            for x in range(4):
                part = images[image, :, 3 * y : 3 * y + 3, 2 * x : 2 * x + 2].mean((1, 2))
                assert torch.allclose(rows[16 * image + 4 * y + x], part, atol=1e-6)


def test_mini_grid_is_what_mini_pools(mini_weights):
    """Half of mini's features are means over the cells, half maxima."""
    frames = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.manual_seed(0))
    pooled, cells = (load_backbone(name, mini_weights) for name in ("mini", "mini-grid"))
    assert (pooled.grid, cells.grid, pooled.dim, cells.dim) == (0, 4, 128, 128)
    assert pooled.weights_sha256 == cells.weights_sha256
    rows = cells.forward(frames)
    assert rows.dtype == torch.float16
    assert rows.shape == (3 * 16, 128)
    grid = rows.float().unflatten(0, (3, 16))
    again = torch.cat([grid[..., :64].mean(1), grid[..., 64:].amax(1)], 1)
    assert torch.allclose(again, pooled.forward(frames).float(), atol=2e-2, rtol=1e-2)
    assert cells.forward(frames[:0]).shape == (0, 128)


def test_a_cell_sees_its_part_of_the_picture(mini_weights):
    """A change in the lower left corner moves the cell there most."""
    backbone = load_backbone("mini-grid", mini_weights)
    frames = torch.full((2, 64, 64, 3), 128, dtype=torch.uint8)
    frames[1, 52:, :12] = torch.tensor([255, 0, 0], dtype=torch.uint8)
    before, after = backbone.forward(frames).float().unflatten(0, (2, 4, 4))
    assert (after - before).abs().sum(2).argmax() == 3 * 4 + 0


def test_stills_and_gifs_become_a_grid_in_the_store(mini_weights, tmp_path):
    pictures = [Image.effect_noise((80, 60), 80) for _ in range(3)]
    pictures[0].save(tmp_path / "still.jpg")
    pictures[0].save(tmp_path / "moving.gif", save_all=True, append_images=pictures[1:], duration=300)
    items = [("still", tmp_path / "still.jpg"), ("moving", tmp_path / "moving.gif")]
    files = {"out": tmp_path / "a.h5", "manifest": tmp_path / "a.json", "state": tmp_path / "state"}
    backbone = load_backbone("mini-grid", mini_weights)
    summary = extract(items, backbone, **files, code_version="1")
    store = FeatureStore(tmp_path / "a.h5")
    assert (store.grid, summary["grid"], summary["dim"]) == (4, 4, 128)
    assert store.read("still").shape == (1 * 16, 128)
    assert store.read("moving").shape == (3 * 16, 128)
    assert len({store.read("moving")[16 * k : 16 * k + 16].tobytes() for k in range(3)}) == 3


def test_a_store_that_says_nothing_of_a_grid_has_none(tmp_path):
    write_store(tmp_path / "old.h5", [("a", np.ones((2, 8), np.float16))], ATTRIBUTES)
    write_store(tmp_path / "new.h5", [("a", np.ones((9, 8), np.float16))], {**ATTRIBUTES, "grid": 3})
    assert [FeatureStore(tmp_path / name).grid for name in ("old.h5", "new.h5")] == [0, 3]


def test_an_item_is_one_contiguous_read(tmp_path, monkeypatch):
    """Each array lies in one piece of the file, and one pread brings it."""
    arrays = {f"i{k}": np.full((k + 1, 8), k, np.float16) for k in range(20)}
    write_store(tmp_path / "a.h5", arrays.items(), ATTRIBUTES)
    with h5py.File(tmp_path / "a.h5") as file:
        assert all(file["features"][item].chunks is None for item in arrays)
        places = {item: file["features"][item].id.get_offset() for item in arrays}
    data = (tmp_path / "a.h5").read_bytes()
    for item, array in arrays.items():
        assert data[places[item] : places[item] + array.nbytes] == array.tobytes()

    reads, preadv = [], os.preadv
    monkeypatch.setattr(module.os, "preadv", lambda *arguments: reads.append(arguments[2]) or preadv(*arguments))
    store = FeatureStore(tmp_path / "a.h5")
    for item, array in arrays.items():
        assert np.array_equal(store.read(item), array)
    assert reads == list(places.values())


@pytest.mark.parametrize("kind", ["chunked", "empty", "float32"])
def test_what_lies_otherwise_is_left_to_hdf5(tmp_path, kind):
    array = np.zeros((0, 8), np.float16) if kind == "empty" else np.arange(16).reshape(2, 8)
    options = {"chunked": {"chunks": (1, 8), "compression": "gzip"}}.get(kind, {})
    write_store(tmp_path / "a.h5", [], ATTRIBUTES)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["features"].create_dataset("a", data=array, dtype="f4" if kind == "float32" else "f2", **options)
        del file["items"]
        file["items"] = np.array([b"a"])
    assert np.array_equal(FeatureStore(tmp_path / "a.h5").read("a"), array)


def test_a_read_that_comes_short_is_done_again(tmp_path, monkeypatch):
    array = np.random.default_rng(0).random((3, 8)).astype(np.float16)
    write_store(tmp_path / "a.h5", [("a", array)], ATTRIBUTES)
    monkeypatch.setattr(module.os, "preadv", lambda *_: 7)
    assert np.array_equal(FeatureStore(tmp_path / "a.h5").read("a"), array)


def test_resnet101_grid_sees_the_whole_picture_in_14_by_14_cells():
    spec = BACKBONES["resnet101-grid"]
    assert (spec.facts.dim, spec.grid, str(resize_of(spec.facts))) == (2048, 14, "native, at most 640 bilinear")


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((640, 480), (640, 480)),  # COCO's sizes stay
        ((427, 640), (427, 640)),
        ((50, 40), (50, 40)),
        ((1280, 960), (640, 480)),
        ((3000, 2), (640, 1)),
    ],
)
def test_a_picture_in_its_own_size_keeps_its_shape(tmp_path, size, seen):
    Image.effect_noise(size, 80).convert("RGB").save(tmp_path / "a.png")
    ((_, image),) = sample_frames(tmp_path / "a.png", resize=resize_of(BACKBONES["resnet101-grid"].facts))
    assert image.shape == (seen[1], seen[0], 3)
    if seen == size:
        assert np.array_equal(image, np.asarray(Image.open(tmp_path / "a.png")))


@pytest.mark.parametrize("size", [(96, 64), (64, 160)])
def test_the_map_of_a_picture_in_its_own_size_is_pooled_to_cells(tmp_path, mini_weights, size):
    """Of two aspect ratios, what extraction stores is torch's adaptive pooling of the network's own map."""
    Image.effect_noise(size, 80).convert("RGB").save(tmp_path / "a.png")
    backbone = replace(load_backbone("mini-grid", mini_weights), resize=Resize(640, native=True))
    backbone.module.side = 3
    files = {"out": tmp_path / "a.h5", "manifest": tmp_path / "a.json", "state": tmp_path / "state"}
    extract([("a", tmp_path / "a.png")], replace(backbone, grid=3), **files, code_version="1")
    images = normalise(torch.from_numpy(np.asarray(Image.open(tmp_path / "a.png")).copy())[None], *MEAN_STD)
    model = load_mini(mini_weights).eval()
    with torch.inference_mode():
        native = model.stages(model.stem(images))
    assert native.shape[2:] == (size[1] // 16, size[0] // 16)  # of its own shape
    expected = nn.functional.adaptive_avg_pool2d(native, 3)[0].flatten(1).T
    stored = torch.from_numpy(FeatureStore(tmp_path / "a.h5").read("a")).float()
    torch.testing.assert_close(stored, expected, atol=2e-2, rtol=1e-2)


@pytest.mark.slow
def test_resnet101_grid_is_torchvisions_layer4(tmp_path):
    from captionrl.features.torchvision_cpu import torchvision

    torch.manual_seed(0)
    reference = torchvision.models.resnet101(weights=None).eval()
    for name, weight in reference.named_parameters():
        if name.endswith("bn3.weight"):
            nn.init.constant_(weight, 0.2)
    torch.save(reference.state_dict(), tmp_path / "resnet101.pth")
    backbone = load_backbone("resnet101-grid", tmp_path / "resnet101.pth")
    frames = torch.randint(0, 256, (1, 448, 448, 3), dtype=torch.uint8)  # whose map has 14 x 14 cells already
    features = backbone.forward(frames)
    found = []
    reference.layer4.register_forward_hook(lambda module, inputs, output: found.append(output))
    with torch.inference_mode():
        reference(normalise(frames, backbone.mean, backbone.std))
    expected = found[0][0].flatten(1).T
    assert features.shape == expected.shape == (14 * 14, 2048)
    assert (features - expected).abs().max() < 0.05 * expected.abs().max()


def test_mini_alone_decides_what_the_grid_is_of(mini_weights):
    model = load_mini(mini_weights)
    grid = load_backbone("mini-grid", mini_weights).module
    assert sum(weight.numel() for weight in grid.parameters()) == sum(
        weight.numel() for part in (model.stem, model.stages) for weight in part.parameters()
    )
