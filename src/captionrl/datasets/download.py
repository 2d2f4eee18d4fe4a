"""From the internet to a raw directory: what is missing is said, then fetched, checked and unpacked."""

import os
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from captionrl.datasets.archives import unpack
from captionrl.datasets.listed import check_gone, fetch_listed, files_of, missing
from captionrl.datasets.manifest import FOLDERS, Entry, file_size, manifest, record_of, recorded, verify
from captionrl.datasets.missing import entries_of, is_there, line
from captionrl.datasets.transfer import CLIENT, Client, fetch, forget
from captionrl.errors import UserError
from captionrl.files import check_listing, sha256, sweep_killed, write_json, write_text
from captionrl.state import open_state

PATIENCE = 24 * 3600.0  # seconds that another download into the same directory may take


@dataclass(frozen=True)
class Need:
    """An entry that a raw directory lacks."""

    raw: Path
    entry: Entry

    @property
    def archive(self) -> Path | None:
        """The archive that its user has put there, to be unpacked."""
        path = self.raw / self.entry.file
        return path if self.entry.unpack and path.is_file() else None

    @property
    def folder(self) -> Path:
        """What an archive becomes: the entry's own, or what its user lets a link of that name lead to."""
        return Path(os.path.realpath(self.raw / self.entry.into))

    @property
    def transferred(self) -> bool:
        return not self.entry.by_hand and self.archive is None

    @property
    def bytes(self) -> int:
        """To transfer, as far as anybody knows."""
        if not self.transferred:
            return 0
        if self.entry.listed and all((self.raw / name).is_file() for name in self.entry.listed):
            listed = len(list(files_of(self.entry, self.raw)))
            return self.entry.size * len(missing(self.entry, self.raw)) // max(1, listed)
        return max(0, self.entry.size - file_size(self.raw / f"{self.entry.file}.part"))


def needs(raw_of: Mapping[str, Path], only: str | None = None) -> list[Need]:
    """What the raw directories of these groups lack, in the order of the manifest; shared files in the directories that
    they are shared from. `only` that entry. Raises UserError for a group or an entry that is not in the manifest."""
    found: dict[Need, None] = {}
    for group, raw in raw_of.items():
        for entry in _entries(group, raw, only):
            if not is_there(entry, raw):
                found[_origin(entry, raw) if entry.shared else Need(raw, entry)] = None
    return [need for need in found if not is_there(need.entry, need.raw)]


def download(
    raw_of: Mapping[str, Path],
    accepted: Collection[str] = (),
    *,
    only: str | None = None,
    allowed_failures: int = 0,
    states: Path = Path("work/state"),
    client: Client = CLIENT,
) -> None:
    """Bring all that the raw directories of these groups lack; what is there is used as it is.

    All of it is named on stderr before the first byte. Raises UserError in one line for licences not in `accepted`, for
    too little disk, for what could not be fetched or unpacked and, at the end, for what nobody may fetch.
    """
    wanted = needs(raw_of, only)
    for text in summary(wanted):
        print(text, file=sys.stderr)
    if refused := _not_accepted(wanted, accepted):
        raise UserError(f"{refused}; nothing was fetched")
    _check_disk(wanted)
    faults = [line(need.entry, need.raw) for need in wanted if need.entry.by_hand]
    for need in wanted:
        title = f"download into {need.raw}"
        with open_state(states, {"download": str(need.raw.resolve())}, title, PATIENCE):
            try:
                if not is_there(need.entry, need.raw) and not need.entry.by_hand:
                    _bring(need, client)
            except UserError as error:  # the others are wanted all the same
                faults.append(str(error))
    for group, raw in raw_of.items():
        for entry in _entries(group, raw, only):
            try:
                _finish(entry, raw, allowed_failures)
            except UserError as error:
                faults.append(str(error))
    if faults:
        raise UserError("; ".join(faults))


def plan(raw_of: Mapping[str, Path], accepted: Collection[str]) -> list[str]:
    """What `download` would say of these groups before the first byte, in lines."""
    wanted = needs(raw_of)
    return [*summary(wanted), *([refused] if (refused := _not_accepted(wanted, accepted)) else [])]


def summary(wanted: Sequence[Need]) -> list[str]:
    """What is missing, a line each, after a line with the totals; nothing where nothing is."""
    if not wanted:
        return []
    fetched = [need for need in wanted if need.transferred]
    total = f"{sum(need.bytes for need in fetched):,} bytes to fetch, {sum(disk_of(wanted).values()):,} of disk"
    lines = [f"missing: {len(wanted)} files or folders, {len(fetched)} of them to fetch: {total}"]
    for need in wanted:
        found = f"; to be unpacked from {need.archive}" if need.archive else ""
        lines.append(f"    {line(need.entry, need.raw)}{found}; licence: {need.entry.licence}")
    return lines


def describe(raw_of: Mapping[str, Path]) -> list[str]:
    """Every entry of these groups, in lines: what, from where, bytes, checksum, licence, whether it is there."""
    lines = []
    for group, raw in raw_of.items():
        wanted = needs({group: raw})
        total = f"{sum(need.bytes for need in wanted):,} bytes to fetch, {sum(disk_of(wanted).values()):,} of disk"
        lines.append(f"{group}: {total if wanted else 'all there'}")
        for entry in _entries(group, raw, None):
            there = "there" if is_there(entry, raw) else "missing"
            digests = [
                f"{name} {value}" for name in ("sha256", "sha1", "md5", "git") if (value := getattr(entry, name))
            ]
            checksum = ", ".join(digests) or ("checksum of the first transfer" if entry.recorded else "no checksum")
            accept = f" (--accept {entry.accept}: {entry.terms})" if entry.accept else ""
            lines += [f"  {there:7} {line(entry, raw)}", f"          {checksum}; licence: {entry.licence}{accept}"]
    return lines


def check_record(path: Path) -> None:
    """Raise UserError for a file that `write_record` did not write."""
    keys = {"files", "licence"}
    check_listing(path, lambda found: all(isinstance(one, dict) and one.keys() == keys for one in found.values()))


def write_record(group: str, raw: Path, path: Path) -> None:
    """Write as JSON what serves for each entry, and under which licence. The same files give the same bytes."""
    record = {}
    for entry in entries_of(group, raw):
        files = next((files for files in entry.alternatives if all((raw / one).exists() for one in files)), ())
        record[entry.name] = {"files": list(files), "licence": entry.licence}
    write_json(path, record)


def _entries(group: str, raw: Path, only: str | None) -> list[Entry]:
    if group not in manifest():
        raise UserError(f"{group}: not in the manifest; there are {', '.join(manifest())}")
    found = [entry for entry in entries_of(group, raw) if only in (None, entry.name)]
    if not found:
        names = ", ".join(entry.name for entry in entries_of(group, raw))
        raise UserError(f"{group}: {only}: not in the manifest; there are {names}")
    return found


def _origin(entry: Entry, raw: Path) -> Need:
    """The entry, and the directory, that a shared one is linked to."""
    assert entry.shared
    for other in manifest().get(entry.shared, []):
        if other.into == entry.into and not other.shared:
            return Need(raw.parent / FOLDERS.get(entry.shared, entry.shared), other)
    raise UserError(f"{entry.name}: shared: {entry.shared} has no {entry.into}; correct the manifest")


def _link(entry: Entry, raw: Path) -> None:
    """Let a shared entry be a link to what is in the directory that it is shared from."""
    need = _origin(entry, raw)
    if is_there(entry, raw) or not is_there(need.entry, need.raw):
        return
    files = next(files for files in need.entry.alternatives if all((need.raw / one).exists() for one in files))
    for one in files:
        path = raw / one.rstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            path.unlink()  # it leads nowhere
        path.symlink_to(os.path.relpath(need.raw / one.rstrip("/"), path.parent))


def _not_accepted(wanted: Sequence[Need], accepted: Collection[str]) -> str | None:
    """The licences that are to be accepted first, where their texts are, and how."""
    known = {entry.accept for group in manifest().values() for entry in group if entry.accept}
    if strange := set(accepted) - known:
        raise UserError(f"accept: {min(strange)}: no such licence; there are {', '.join(sorted(known))}")
    asked = {need.entry.accept: need.entry.terms for need in wanted if need.entry.accept and need.transferred}
    refused = {name: terms for name, terms in asked.items() if name not in accepted}
    if not refused:
        return None
    texts = ", ".join(f"{name} ({terms})" for name, terms in refused.items())
    names = ", ".join(refused)
    fix = f"read them, then add `accept: [{names}]` to params.yaml or give --accept {names.replace(',', '')}"
    return f"licences not accepted: {texts}; {fix}"


def disk_of(wanted: Sequence[Need]) -> dict[int, int]:
    """Bytes needed, by the number of the file system: of each file, and of the largest archive while it is unpacked."""
    needed: dict[int, int] = {}
    archives: dict[int, int] = {}
    for need in wanted:
        device = _device(need.raw)
        if need.entry.unpack:
            size = file_size(need.archive) if need.archive else need.entry.size
            needed[_device(need.folder)] = needed.get(_device(need.folder), 0) + size
            archives[device] = max(archives.get(device, 0), need.bytes)
        else:
            needed[device] = needed.get(device, 0) + need.bytes
    return {device: needed.get(device, 0) + archives.get(device, 0) for device in needed.keys() | archives.keys()}


def _check_disk(wanted: Sequence[Need]) -> None:
    places = {_device(place): place for need in reversed(wanted) for place in (need.folder, need.raw)}
    for device, needed in disk_of(wanted).items():
        if (free := shutil.disk_usage(_existing(places[device])).free) < needed:
            fix = "make room, or let the directory be a link to another disk"
            raise UserError(f"{places[device]}: {needed:,} bytes of disk are needed, {free:,} are free; {fix}")


def _device(path: Path) -> int:
    """The number of the file system that a path is on, or will be."""
    return _existing(path).stat().st_dev


def _existing(path: Path) -> Path:
    """The path, or the nearest directory above it that is there."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def _finish(entry: Entry, raw: Path, allowed_failures: int) -> None:
    """Link what is shared; refuse a file that is not what the manifest says, and too many that are gone.

    What a command that was killed in its last moment left of a transfer is removed.
    """
    if entry.url and is_there(entry, raw):
        forget(raw / f"{entry.file}.part")
        sweep_killed((raw / entry.file).parent)
    if entry.shared:
        _link(entry, raw)
    elif entry.listed and is_there(entry, raw):
        check_gone(entry, raw, allowed_failures)
    elif not entry.is_folder and (path := raw / entry.into).is_file() and (fault := verify(entry, path)):
        raise UserError(f"{path}: {fault}; remove it to have it fetched")


def _bring(need: Need, client: Client) -> None:
    entry, raw = need.entry, need.raw
    if entry.listed:
        fetch_listed(entry, raw, client)
        return
    if (archive := need.archive) and (fault := verify(entry, archive)):
        raise UserError(f"{archive}: {fault}; remove it to have it fetched")
    path = archive or fetch(entry, raw, client)
    if entry.unpack:
        with suppress(OSError):
            need.folder.rmdir()  # an empty one
        try:
            unpack(path, need.folder, entry.unpack)
        except UserError:
            if entry.recorded and archive is None:
                forget(path)  # no checksum says that it is what it should be
            raise
    record = record_of(raw / entry.file)
    if entry.recorded and archive is None and recorded(record) is None:
        write_text(record, f"{(digest := sha256(path))}  {Path(entry.file).name}\n")
        fact = f"nobody publishes a checksum; its SHA-256 {digest} is in {record.name} and checked from now on"
        print(f"{raw / entry.file}: {fact}", file=sys.stderr)
    if entry.unpack and archive is None:
        forget(path)
