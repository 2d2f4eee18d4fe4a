"""The complete captions of COCO's validation images, a person's first caption against four others."""

from pathlib import Path

import pytest

from captionrl.datasets.coco import read_captions_file
from captionrl.evaluation.metrics import METRICS, evaluate

SAMPLE = Path(__file__).parents[2].parent / "shared/data/coco/captions_val2017.json"


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLE.exists(), reason=f"no real captions at {SAMPLE}")
def test_5000_images_are_scored_and_people_agree_with_people():
    captions = read_captions_file(SAMPLE)
    references = {image: others for image, (_, *others) in captions.items()}
    results = evaluate(references, {image: first for image, (first, *_) in captions.items()})
    assert set(results) == set(METRICS)
    assert all(len(result.items) == 5000 for result in results.values())
    neighbours = dict(zip(captions, [*list(captions)[1:], next(iter(captions))], strict=True))
    others = evaluate(references, {image: captions[neighbours[image]][0] for image in captions}, ["CIDEr-D", "ROUGE-L"])
    for metric, result in others.items():  # of another image
        assert results[metric].value > 1.4 * result.value, metric
