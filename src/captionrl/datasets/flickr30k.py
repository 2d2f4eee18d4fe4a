"""Flickr30k (Young et al., 2014): 31,014 images by Karpathy's split, five captions each; 1,014 for validation, 1,000
for testing."""

from pathlib import Path

from captionrl.datasets.corpus import Corpus
from captionrl.datasets.karpathy import read_karpathy
from captionrl.datasets.records import folder_of

ANNOTATION = "dataset_flickr30k.json"
FOLDERS = ("flickr30k-images", "flickr30k_images", "Images", "images")  # as the publisher packs them, and as others do


def read(name: str, raw: Path) -> Corpus:
    return read_karpathy(name, raw, ANNOTATION, "", folder_of(raw, *FOLDERS))
