"""Several jobs extract a corpus, each a part of its items; of their stores comes that which one job would write."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from captionrl.errors import UserError
from captionrl.features.extract import complaint
from captionrl.features.store import ATTRIBUTES, FeatureStore, write_store
from captionrl.files import damage_named, read_json, sweep, write_json


def part_of(media: Mapping[str, str], number: int, parts: int) -> dict[str, str]:
    """Part `number`, counted from 1, of `parts` stretches as equally long as can be."""
    start, end = (len(media) * n // parts for n in (number - 1, number))
    return dict(list(media.items())[start:end])


def join(
    parts: Sequence[Path], items: Sequence[str], out: Path, manifest: Path, *, allowed_failures: int
) -> dict[str, Any]:
    """Write the store `out` of `items`, in their order, and its manifest, both equal to the byte to those of one job.

    `parts` are stores, their manifests beside them. UserError where they are not of one kind, where one is not of these
    items, and where more than `allowed_failures` items failed in all of them together.
    """
    stores, kinds, failed = [FeatureStore(part) for part in parts], [], dict[str, str]()
    for part in parts:
        beside = part.with_suffix(".json")
        with damage_named(beside, "not the manifest of a part", f"delete it and extract {part.name} again"):
            found = read_json(beside)
            kinds.append({name: found[name] for name in (*ATTRIBUTES, "grid")})
            failed |= found["failures"]
    for part, kind in zip(parts, kinds, strict=True):
        if kind != kinds[0]:
            name = next(name for name in kind if kind[name] != kinds[0][name])
            what = f"{name} is {kind[name]!r}, that of {parts[0]} {kinds[0][name]!r}"
            raise UserError(f"{part}: {what}; delete both and extract them again")
    place = {item: store for store in stores for item in store.items}
    difference = Counter([*chain.from_iterable(store.items for store in stores), *failed])
    difference.subtract(items)
    if wrong := next((item for item, surplus in difference.items() if surplus), None):
        names = ", ".join(map(str, parts))
        raise UserError(f"{names}: not the parts of this corpus: see item {wrong!r}; extract all parts again")
    failures = {item: failed[item] for item in items if item in failed}
    if len(failures) > allowed_failures:
        fix = "repair or fetch their files, delete the parts they are in, and run again"
        raise UserError(*complaint(failures, len(items), allowed_failures, fix))
    for path in (out, manifest):
        sweep(out.parent, path.name)
    arrays = ((item, place[item].read(item)) for item in items if item in place)
    summary = {**write_store(out, arrays, kinds[0]), "failures": failures}
    write_json(manifest, summary)
    return summary
