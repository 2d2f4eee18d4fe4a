"""What users bring: settings, features, the manifest of downloads."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from files import ROOT, Files, folder_of, lines


def params() -> list[Files]:
    return [{"params.yaml": (ROOT / "params.yaml").read_bytes()}, {"params.yaml": PARAMS}]


PARAMS = b"""\
scale: laptop
seeds: [1, 2]
device: cpu
weights: {resnet152: weights/a.pth, "timm:vit_tiny": random}
features: {clip: "features/{corpus}.npz", box: {path: boxes, fps: 2, grid: 4, ids: number}}
allowed_failures: 3
overrides:
  hrl: {beam: 3, phases: {xe: {epochs: 2}}}
"""


def read_params(folder: Path, out: Path) -> None:
    from captionrl.config import load_params

    load_params(folder / "params.yaml")


def papers() -> list[Files]:
    folders = sorted(path for path in (ROOT / "papers").iterdir() if path.is_dir())
    return [
        {f"{paper.name}/{name}.yaml": (paper / f"{name}.yaml").read_bytes() for name in ("paper", "mini")}
        for paper in folders
    ]


def read_paper(folder: Path, out: Path) -> None:
    from captionrl.config import load_paper, render_settings

    (paper,) = folder.iterdir()
    load_paper(paper, "mini")
    render_settings(paper, "mini", None, None)


def manifests() -> list[Files]:
    return [{"downloads.yaml": (ROOT / "src/captionrl/datasets/downloads.yaml").read_bytes()}]


def read_manifest(folder: Path, out: Path) -> None:
    from captionrl.datasets.manifest import read_manifest

    read_manifest(folder / "downloads.yaml")


def arrays() -> dict[str, Any]:
    import numpy as np

    return {f"clip{k}": np.full((k + 2, 6), k + 0.5, np.float32) for k in range(3)}


def features() -> list[Files]:
    import h5py
    import numpy as np
    import torch
    from safetensors.numpy import save_file

    found = arrays()
    tensors = {name: torch.from_numpy(array) for name, array in found.items()}

    def h5(folder: Path) -> None:
        with h5py.File(folder / "features.h5", "w") as file:
            for name, array in found.items():
                file[f"videos/{name}"] = array

    def packed_h5(folder: Path) -> None:
        with h5py.File(folder / "features.hdf5", "w") as file:
            for name, array in found.items():
                file.create_dataset(f"{name}/feat", data=array, chunks=True, compression="gzip")

    def files(folder: Path) -> None:
        for (name, array), save in zip(found.items(), (np.save, np.save, np.savez), strict=True):
            save(folder / f"{name}.npy" if save is np.save else folder / f"{name}.npz", array)

    def old(folder: Path) -> None:
        torch.save(tensors, folder / "features.pth", _use_new_zipfile_serialization=False)

    def tsv(folder: Path) -> None:
        row = "{}\t4\t4\t{}\tAAAA\t{}"
        encoded = {name: base64.b64encode(array.tobytes()).decode() for name, array in found.items()}
        rows = (row.format(name, len(array), encoded[name]) for name, array in found.items())
        (folder / "features.tsv").write_bytes(lines(*rows))

    def rows(folder: Path) -> None:
        np.save(folder / "rows.npy", np.concatenate(list(found.values()))[:3])
        (folder / "ids.txt").write_bytes(lines(*found))

    writers: list[Callable[[Path], object]] = [
        lambda folder: np.savez(folder / "features.npz", **found),
        lambda folder: np.savez_compressed(folder / "features.npz", **found),
        lambda folder: torch.save(tensors, folder / "features.pt"),
        lambda folder: save_file(found, folder / "features.safetensors", {"made": '"by hand"'}),
        *(h5, packed_h5, old, tsv, files, rows),
    ]
    return [folder_of(write) for write in writers]


def read_features(folder: Path, out: Path) -> None:
    from captionrl.features.imports import Kind, import_features
    from captionrl.features.store import FeatureStore

    ids = folder / "ids.txt" if (folder / "ids.txt").exists() else None
    files = [path for path in folder.iterdir() if path != ids]
    source = files[0] if len(files) == 1 else folder
    store = out / "own.h5"
    import_features(["clip0", "clip1", "clip2"], source, store, kind=Kind("own:a"), code_version="1", ids_file=ids)
    FeatureStore(store)
