"""Nothing that is published names an item of a corpus or holds one of its captions of five words or more."""

import re
import sys
from pathlib import Path

from captionrl.datasets.prepared import load_captions

published, captions = Path(sys.argv[1]), load_captions(Path(sys.argv[2]))
texts = {path: path.read_text(encoding="utf-8") for path in published.rglob("*") if path.suffix not in (".png", "")}
assert texts, f"{published}: nothing is published"
names = {item.id for items in captions.items.values() for item in items}
spoken = {line for lines in captions.raw.values() for line in lines if len(line.split()) >= 5}
assert names, "no item"
assert spoken, "no caption"
for path, text in texts.items():
    words = set(re.findall(r"[\w.-]+", text))  # an id of five digits may be part of a number
    found = [*(name for name in names if name in words), *(line for line in spoken if line in text)]
    assert not found, f"{path}: {found[:3]}"
print(f"{published}: {len(texts)} files without any of {len(names)} items and {len(spoken)} captions")
