"""The mini backbone's trained weights, which come with the package: so every machine sees the mini world alike.

Beside them lies where they came from: `mini.json` has commit, command and SHA-256. The rule `backbone` trains them.
"""

from pathlib import Path

MINI_WEIGHTS = Path(__file__).with_name("mini.safetensors")


def shipped_weights(backbone: str) -> Path | None:
    """The weights that the package has of a backbone, whose features, grid or frames are asked for."""
    return MINI_WEIGHTS if backbone in ("mini", "mini-grid", "mini-frames") else None
