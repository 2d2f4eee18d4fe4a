"""Where every setting of a paper comes from: a line of its files, params.yaml, or a default."""

from pathlib import Path
from typing import Any

import yaml

from captionrl.config.base import overlay
from captionrl.config.load import UniqueKeys, files_of, resolve
from captionrl.errors import UserError
from captionrl.files import decode_utf8, read_bytes

OVERRIDES = "params.yaml overrides"
WIDTH = 60  # places of lines up to this width are aligned, those of longer ones stand where the line ends


def render_settings(directory: Path, scale: str, overrides: dict[str, Any] | None, only: str | None) -> str:
    """Every setting of a paper at `scale` as YAML, behind each the place that it comes from.

    `only`: the settings below a key such as phases.hrl, and none else. Corpora are called as in the files, without the
    scale in their names. Raises a UserError for a mistake in the files, and for an unknown `only`.
    """
    paper = resolve(directory, scale, overrides)
    settings = paper.model_dump(mode="json", by_alias=True)
    settings["sizes"] = paper.default_sizes | settings["sizes"]
    places: dict[str, Any] = {}
    for path in files_of(directory, scale):
        places = overlay(places, _places_in(path))
    places = overlay(places, _places_of(overrides or {}, OVERRIDES))
    if only:
        settings = _below(settings, only, directory)
    lines = _lines(settings, places)
    column = max((len(line) for line, _ in lines if len(line) <= WIDTH), default=0)
    return "".join(f"{line:<{column}}  # {place}\n" if place else f"{line}\n" for line, place in lines)


def _places_in(path: Path) -> Any:
    """A file's mappings and lists of mappings, with the place of each value in its stead."""
    text = decode_utf8(read_bytes(path), path)
    loader = UniqueKeys("")

    def places(node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            loader.flatten_mapping(node)  # <<: keys of an anchor, which stand where the anchor is
            return {key.value: places(value) for key, value in node.value}
        if isinstance(node, yaml.SequenceNode) and any(isinstance(item, yaml.MappingNode) for item in node.value):
            return [places(item) for item in node.value]
        return f"{path}:{node.start_mark.line + 1}"

    return places(yaml.compose(text, UniqueKeys))


def _places_of(value: Any, place: str) -> Any:
    """Likewise of a value that comes from one place."""
    if isinstance(value, dict):
        return {key: _places_of(part, place) for key, part in value.items()}
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [_places_of(item, place) for item in value]
    return place


def _below(settings: dict[str, Any], only: str, directory: Path) -> dict[str, Any]:
    """The setting `only`, in the mappings that it is in."""
    keys, found = only.split("."), settings
    for depth, key in enumerate(keys):
        if not isinstance(found, dict) or key not in found:
            names = ", ".join(found) if isinstance(found, dict) and found else "none"
            raise UserError(f"{directory}: no setting {only!r}; {'.'.join(keys[:depth]) or 'it'} has {names}")
        found = found[key]
    for key in reversed(keys):
        found = {key: found}
    return found


def _lines(settings: dict[str, Any], places: Any, indent: str = "") -> list[tuple[str, str]]:
    """(line, place) of every setting; the lines above a mapping or a list of mappings have no place."""
    lines = []
    for key, value in settings.items():
        place = places.get(key, "default") if isinstance(places, dict) else places
        if isinstance(value, dict) and value:
            lines += [(f"{indent}{key}:", ""), *_lines(value, place, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append((f"{indent}{key}:", ""))
            for index, item in enumerate(value):
                at = place[index] if isinstance(place, list) else place
                (first, where), *rest = _lines(item, at, indent + "    ")
                lines += [(f"{indent}  - {first.lstrip()}", where), *rest]
        else:
            lines.append((f"{indent}{key}: {_scalar(value)}", place if isinstance(place, str) else "default"))
    return lines


def _scalar(value: Any) -> str:
    """A value, or a list of values, in one line of YAML."""
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**6).strip()[1:-1]
