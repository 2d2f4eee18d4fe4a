"""Files of backbones' weights: where they are, and how they are read. Nothing that a file could run is run."""

import pickle
import shlex
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from captionrl.config.backbones import RANDOM, BackboneSpec, Installed, backbone_spec
from captionrl.errors import UserError
from captionrl.files import check_readable, sha256


def spec_of(backbone: str) -> BackboneSpec:
    """`backbone_spec`, whose error is one of the user."""
    try:
        return backbone_spec(backbone)
    except ValueError as error:
        raise UserError(str(error)) from None


def find_weights(backbone: str, given: Path | str | None, neighbour: Path | None = None) -> Path | str:
    """The file of a backbone's weights: `given`, else what a package brings or a rule has downloaded. RANDOM stays.

    Raises UserError where there is none, or another one than the package should bring. It names the file of that name
    in the project of `neighbour`, a file, if there is one there.
    """
    source = spec_of(backbone).weights
    if given == RANDOM:
        return RANDOM
    if given:
        path, fix = Path(given), "give an existing one"
    elif isinstance(source, Installed):
        return _installed(source)
    elif source:
        path = source.path
        fix = f"make it with `snakemake {path}` in the project's folder and run this there"
        fix += ", or name another with --weights"
        folders = neighbour.resolve().parents if neighbour else ()
        if elsewhere := next((folder / path for folder in folders if (folder / path).is_file()), None):
            fix = f"add --weights {shlex.quote(str(elsewhere))}"
    else:
        fix = f"name their file with --weights, or try it with --weights {RANDOM}"
        raise UserError(f"{backbone}: has no weights of its own; {fix}")
    if not path.is_file():
        raise UserError(f"{path}: no such file; {fix}")
    return path


def _installed(source: Installed) -> Path:
    spec = find_spec(source.package)  # runs nothing of the package
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{source.package} is not installed; run `pip install 'captionrl[{source.extra}]'`")
    path = Path(spec.submodule_search_locations[0], source.file)
    if not path.is_file() or sha256(path) != source.sha256:
        fault = "another file than it should be" if path.is_file() else "no such file"
        raise UserError(f"{path}: {fault} (sha256 {source.sha256[:12]}); install {source.package} again")
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, of safetensors or of a state dict of torch.save."""
    check_readable(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); fetch or make it again") from None
    except pickle.UnpicklingError:
        raise UserError(f"{path}: refused: it holds more than tensors (pickled code?), or is no torch file") from None
    except Exception as error:  # whatever torch's unpickler stumbles over: KeyError, struct.error, AssertionError ...
        reason = f"{type(error).__name__} {error}".splitlines()[0]
        raise UserError(f"{path}: not a whole torch file ({reason}); fetch it again") from None
    if not (isinstance(weights, dict) and all(isinstance(value, Tensor) for value in weights.values())):
        raise UserError(f"{path}: not a state dict (a mapping from names to tensors)")
    return weights


def fill(model: nn.Module, weights: dict[str, Tensor], path: Path, what: str, assign: bool = True) -> None:
    """Give a model these weights: all that it has and no other. `assign`: in the precision that they are stored in."""
    try:
        model.load_state_dict(weights, assign=assign)
    except RuntimeError as error:
        raise misfit(path, what, error) from None


def misfit(path: Path, what: str, error: Exception) -> UserError:
    """What load_state_dict complains of, in one line: it lists every key, the first is enough to see what is wrong."""
    first = str(error).splitlines()[min(1, str(error).count("\n"))].strip()[:200]
    return UserError(f"{path}: not the weights of {what} ({first})")
