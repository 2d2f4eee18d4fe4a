"""Checkpoints: a policy's weights and all it takes to use them, in one safetensors file."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captionrl.config import CorpusSettings, NotNegative, Seed, complaint, model_spec
from captionrl.errors import UserError
from captionrl.files import SURROGATE, atomic, check_readable
from captionrl.models import Policy, build_module
from captionrl.text.vocabulary import Vocabulary

SPARE = 2**24  # numbers, such as of a classifier that is taken off
BESIDE = "training."  # before the names of weights that are not the module's


@dataclass(frozen=True)
class Metadata:
    """Metadata of a checkpoint; equal trainings give equal metadata."""

    paper: str
    run: str
    phase: str
    corpus: str
    seed: Seed
    model: str
    visual_input: bool
    features: Annotated[int, Field(ge=0)]  # width of a frame's feature
    sizes: dict[str, Any]
    settings: dict[str, Any]  # CorpusSettings
    words: list[str]
    backbone: str
    backbone_sha256: str
    fps: NotNegative  # 0: imported features' that nobody knows, or stills'
    updates: int
    best_update: int
    val_score: float  # the learner's own metric on validation items: of captioners CIDEr-D of greedy captions
    config: str  # hash of the phase's configuration
    code: str  # version of the code that trained it

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(tuple(self.words))

    @property
    def corpus_settings(self) -> CorpusSettings:
        return CorpusSettings(**self.settings)


def save_checkpoint(path: Path, module: nn.Module, metadata: Metadata, beside: Mapping[str, Tensor] = {}) -> None:
    """`beside`: weights that training alone uses, such as a baseline's, for a phase that goes on from here."""
    everything = {**module.state_dict(), **{BESIDE + name: tensor for name, tensor in beside.items()}}
    # Copied: safetensors refuses weights that two layers share.
    weights = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in everything.items()}
    with atomic(path) as temporary:
        temporary.write_bytes(save(weights, {"captionrl": json.dumps(asdict(metadata), sort_keys=True)}))


def load_checkpoint(path: Path) -> tuple[Policy, Metadata]:
    """The policy, in evaluation mode on the CPU, and its metadata."""
    module, metadata = load_module(path)
    if not isinstance(module, Policy):
        raise UserError(f"{path}: a boundary critic, which writes no captions; give a run's last checkpoint")
    return module, metadata


def load_module(path: Path) -> tuple[nn.Module, Metadata]:
    """Likewise, or a boundary critic."""
    header, everything = _read(path)
    weights = {name: tensor for name, tensor in everything.items() if not name.startswith(BESIDE)}
    kind: type[BaseModel] = CorpusSettings
    place = ""
    try:
        written = json.loads(header["captionrl"])
        if SURROGATE.search(json.dumps(written, ensure_ascii=False)):
            raise ValueError("one of its texts holds half a character, a surrogate")
        metadata = TypeAdapter(Metadata).validate_python(vars(Metadata(**written)))
        place = "settings"
        _ = metadata.corpus_settings, metadata.vocabulary
        kind, place = model_spec(metadata.model).sizes, "sizes"
        sizes = kind.model_validate(metadata.sizes)
        with _Bounded(weights):
            module = build_module(metadata.model, metadata.features, len(metadata.words), sizes, metadata.backbone)
        module.load_state_dict(weights)
    except UserError as error:  # of a model of the user's own
        raise UserError(f"{path}: {error}") from None
    except ValidationError as error:
        reason = complaint(error, kind, place)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
    else:
        return module.eval(), metadata
    raise UserError(f"{path}: not a checkpoint of this version of captionrl ({reason}); train it again") from None


class _Bounded(TorchFunctionMode):
    """Lets modules be built of no more numbers than fit to these weights, whatever sizes a checkpoint claims."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.left = 2 * sum(tensor.numel() for tensor in weights.values()) + SPARE

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.empty and args:  # what layers make their parameters of
            self.left -= math.prod(args[0] if isinstance(args[0], Sequence) else args)
            if self.left < 0:
                raise ValueError("its sizes are larger than its weights")
        return func(*args, **kwargs or {})


def load_beside(path: Path) -> dict[str, Tensor]:
    """The weights that training alone uses, as `save_checkpoint` was given them."""
    return {name.removeprefix(BESIDE): tensor for name, tensor in _read(path)[1].items() if name.startswith(BESIDE)}


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors of a safetensors file."""
    check_readable(path)
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        fix = "train it again" if path.suffix == ".safetensors" else "give a checkpoint, .safetensors"
        raise UserError(f"{path}: not a safetensors file ({error}); {fix}") from None
