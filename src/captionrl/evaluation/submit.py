"""Captions as COCO's evaluation server takes them.

It wants `results.zip` of two files, `captions_test2014_ALG_results.json` and `captions_val2014_ALG_results.json`: each
a list of {"image_id": number, "caption": text}, every image of that part once. Its code (coco-caption) takes an empty
caption, or one that is empty without its punctuation, scores it 0 in all metrics and the others as ever. So we send
the first caption of the beam that holds a word, which is the best one but where that is empty.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from torch import Tensor

from captionrl.datasets.coco import part_of, read_images
from captionrl.decoding.beam import beam_search
from captionrl.errors import UserError
from captionrl.evaluation.predict import decode
from captionrl.features.store import FeatureStore
from captionrl.files import read_json, write_json
from captionrl.models.policy import Features, Policy

NAME = re.compile(r"captions_([a-z0-9]+)_[A-Za-z0-9]+_results\.json")
WORD = re.compile(r"\w")


def submit(
    checkpoint: Path,
    images: Path,
    features: Path,
    out: Path,
    *,
    beam: int,
    device: str,
    length_normalised: bool = False,
) -> None:
    """Write the captions of all images that the COCO file `images` lists to `out`, and validate what was written.

    Raises UserError, before anything is written, for a name that the server would not take, for images without
    features, and where a whole beam holds no caption with a word.
    """
    listed = read_images(images)
    _check_name(out, listed, str(images))
    items = {id: PurePosixPath(name).stem for id, name in listed.items()}
    store = FeatureStore(features)
    if missing := [item for item in items.values() if item not in store]:
        raise UserError(
            f"{features}: {len(missing):,} of the {len(items):,} images of {images} have no features, such as "
            f"{missing[0]}; extract them: the server wants a caption of every one"
        )

    def search(policy: Policy, features: Features, max_tokens: int) -> Tensor:
        memory = policy.encode(features)
        return beam_search(policy, memory, max_tokens, beam, length_normalised=length_normalised)[0]

    beams = decode(checkpoint, features, list(items.values()), search, device=device, title="beam search")
    captions = {id: next(filter(WORD.search, beams[item]), "") for id, item in items.items()}
    if wordless := [id for id, caption in captions.items() if not caption]:
        raise UserError(
            f"{checkpoint}: no word in any caption of a beam of {beam} of {len(wordless):,} images, such as "
            f"{wordless[0]}; search with a wider --beam"
        )
    write_json(out, [{"image_id": id, "caption": captions[id]} for id in sorted(captions)])
    validate(out, listed)


def validate(path: Path, images: Mapping[int, str]) -> None:
    """Raise UserError unless `path` is what the server takes about `images`, {id: file name}."""
    _check_name(path, images, str(path))
    results = read_json(path)
    if not isinstance(results, list):
        raise UserError(f"{path}: must be a list of image_id and caption; write it again")
    seen: set[int] = set()
    for i, result in enumerate(results):
        at = f"{path}: [{i}]"
        id, caption = (result.get("image_id"), result.get("caption")) if isinstance(result, dict) else (None, None)
        if type(id) is not int or not isinstance(caption, str):
            raise UserError(f"{at}: must be an image_id, a whole number, and a caption, a text; write it again")
        if id not in images:
            raise UserError(f"{at}.image_id: {id} is not among the images to caption; take it out")
        if id in seen:
            raise UserError(f"{at}.image_id: {id} has a caption already; keep one")
        if not WORD.search(caption):
            raise UserError(f"{at}.caption: {caption[:40]!r} holds no word; write one")
        seen.add(id)
    if missing := [id for id in images if id not in seen]:
        raise UserError(f"{path}: {len(missing):,} images have no caption, such as {missing[0]}; write them all")


def _check_name(path: Path, images: Mapping[int, str], place: str) -> None:
    """Complain of a name that does not let the server know which part of COCO the images are."""
    parts = sorted({part_of(name, place) for name in images.values()})
    if len(parts) != 1:
        raise UserError(f"{place}: images of {', '.join(parts) or 'no part'}; a file for the server is about one part")
    name = NAME.fullmatch(path.name)
    if not name or name[1] != parts[0]:
        wanted = f"captions_{parts[0]}_ALG_results.json"
        raise UserError(f"{path}: the server wants the name {wanted}, ALG of letters and digits; rename it")
