"""How much memory there is, and how many processes the kernel has killed for want of it."""

import re
from pathlib import Path

ROOT = Path("/")
GROUPS = {"": ("sys/fs/cgroup", "memory.max"), "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes")}  # v2, v1


def available() -> float:
    """Bytes of memory: what Linux has available, or the limit, if that is less, of a control group (a container's, a
    batch job's) that this process is in, whatever others of the group take. Infinite on other systems.
    """
    found = re.search(r"^MemAvailable: +(\d+) kB$", _read("proc/meminfo"), re.MULTILINE)
    limits = [float(found[1]) * 1024 if found else float("inf")]
    for controllers, group in re.findall(r"^\d+:(.*?):/(.*)$", _read("proc/self/cgroup"), re.MULTILINE):
        for mounted, file in (GROUPS[name] for name in controllers.split(",") if name in GROUPS):
            for place in (Path(group), *Path(group).parents):  # a group is bound by those that it is in, too
                limit = _read(f"{mounted}/{place}/{file}").strip()
                limits += [float(limit)] if limit.isdecimal() else []
    return min(limits)


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory, the machine's or a container's, since it started; 0
    where it does not count them (before Linux 4.13, on other systems).
    """
    count = re.search(r"^oom_kill (\d+)$", _read("proc/vmstat"), re.MULTILINE)
    return int(count[1]) if count else 0


def _read(path: str) -> str:
    """The text of a file below ROOT, "" if it cannot be read."""
    try:
        return (ROOT / path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
