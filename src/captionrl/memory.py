"""Memory that ran out, where whoever needed it could not say so: the kernel ended the process."""

import re
from pathlib import Path

VMSTAT = Path("/proc/vmstat")  # Linux


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory, the machine's or a container's, since it started; 0
    where it does not count them (before Linux 4.13, on other systems).
    """
    try:
        count = re.search(r"^oom_kill (\d+)$", VMSTAT.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(count[1]) if count else 0
