"""Where the time of a training step goes: of the plain loop, of this version, and of others measured before."""

import argparse
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from step import Steps
from timing import machine, pretty
from torch import nn
from torch.profiler import profile, record_function
from world import Batch

# Okabe and Ito's colours, which colour-blind readers tell apart
PARTS = {
    "encoder": "#0072B2",
    "attention": "#56B4E9",
    "LSTM": "#009E73",
    "vocabulary": "#E69F00",
    "reward": "#000000",
    "optimiser": "#CC79A7",
    "softmax, drawing, the rest": "#BBBBBB",
}
REST = "softmax, drawing, the rest"
BACKWARD = "autograd::engine::evaluate_function: "


def named(part: str) -> AbstractContextManager:
    return record_function(f"part: {part}")


def watch(module: nn.Module, part: str) -> None:
    """Name what the module computes, here and on the way back."""
    open_scopes: list[AbstractContextManager] = []

    def begin(module: nn.Module, inputs: object) -> None:
        open_scopes.append(named(part))
        open_scopes[-1].__enter__()

    def end(module: nn.Module, inputs: object, output: object) -> None:
        open_scopes.pop().__exit__(None, None, None)

    module.register_forward_pre_hook(begin)
    module.register_forward_hook(end)


def parts(step: Callable[[], None]) -> dict[str, float]:
    """Seconds of each part of one step, forth and back."""
    step()
    with profile() as profiler, record_function("whole"):
        step()
    events = profiler.events() or []
    seconds = dict.fromkeys(PARTS, 0.0)
    owner: dict[int, str] = {}  # what autograd numbered -> its part
    for event in events:
        part = event.name.removeprefix("part: ")
        if part == event.name or part == "backward":
            continue
        seconds[part] += event.cpu_time_total / 1e6
        children = list(event.cpu_children)
        while children:
            child = children.pop()
            owner[child.sequence_nr] = part
            children += child.cpu_children
    for event in events:
        if event.name.startswith(BACKWARD) and event.sequence_nr >= 0 and event.sequence_nr in owner:
            seconds[owner[event.sequence_nr]] += event.cpu_time_total / 1e6
    (whole,) = (event.cpu_time_total / 1e6 for event in events if event.name == "whole")
    seconds[REST] = whole - sum(seconds[part] for part in seconds if part != REST)
    return seconds


def measure(scale: str) -> dict[str, dict[str, dict[str, float]]]:
    """{step: {whose: {part: seconds}}}."""
    batch = Batch.make(scale, 64)
    steps = Steps(batch, named)
    policy = batch.policy
    watch(policy.project, "encoder")
    watch(policy.encoder, "encoder")
    watch(policy.attention, "attention")
    watch(policy.attention.key, "attention")
    watch(policy.cell, "LSTM")
    watch(policy.head, "vocabulary")
    return {
        "XE": {"a plain loop": parts(steps.plain_xe), "captionrl": parts(steps.ours_xe)},
        "RL": {"a plain loop": parts(steps.plain_rl), "captionrl": parts(steps.ours_rl)},
    }


def draw(figures: dict[str, dict[str, dict[str, float]]], where: str, path: Path) -> None:
    """Stacked bars, one for each step and whose it is."""
    rows = [(f"{step} step, {whose}", seconds) for step, bars in figures.items() for whose, seconds in bars.items()]
    figure = Figure(figsize=(9, 0.9 + 0.45 * len(rows)), dpi=120, layout="constrained")
    axes = FigureCanvasAgg(figure).figure.subplots()
    for number, (_, seconds) in enumerate(rows):
        left = 0.0
        for part, colour in PARTS.items():
            axes.barh(number, seconds[part], left=left, color=colour, label=part if number == 0 else None)
            left += seconds[part]
        axes.text(left, number, f" {pretty(left)}", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel(f"seconds a step, {where}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(PARTS), fontsize=8, frameon=False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", choices=("paper", "mini"), default="paper")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--before", type=Path, help="such a file, of another version on the same machine: draw it, too")
    parser.add_argument("--draw", type=Path, help="draw them as a picture")
    args = parser.parse_args()
    figures = measure(args.scale)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "steps": figures}, indent=1) + "\n")
    if args.before:
        earlier = json.loads(args.before.read_text())["steps"]
        for step, bars in figures.items():
            ours = bars.pop("captionrl")
            bars |= {"captionrl before": earlier[step]["captionrl"], "captionrl now": ours}
    for step, bars in figures.items():
        for whose, seconds in bars.items():
            print(f"{step} step, {whose}:", ", ".join(f"{part} {pretty(took)}" for part, took in seconds.items()))
    if args.draw:
        draw(figures, machine(), args.draw)


if __name__ == "__main__":
    main()
