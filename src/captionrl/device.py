"""Where torch computes."""

import os

import torch


def pick_device(name: str) -> torch.device:
    """The device that `device:` of params.yaml means here; on a CPU, with OMP_NUM_THREADS threads where that is set."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads()))
    return torch.device(name)
