"""Print which rules' commands run again when a statement of a module changes: the table in docs/architecture.md."""

import re
from collections import defaultdict
from pathlib import Path

from captionrl.cli import COMMANDS, load_command
from captionrl.config import MODELS, OBJECTIVES, REWARDS, backbones
from captionrl.provenance import PACKAGE, sources

METHODS = {command: [model.path for model in MODELS.values()] for command in ("train", "predict", "submit", "figures")}
METHODS["train"] += [objective.path for objective in OBJECTIVES.values()]
LOADERS = sorted({*backbones.LOADERS.values(), *(spec.loader for spec in backbones.BACKBONES.values())})
for name in ("train", "figures"):
    METHODS[name] += REWARDS.values()
for name in ("features", "frames", "train", "predict", "submit", "figures"):
    METHODS[name] = [*METHODS.get(name, ()), *LOADERS]
rules = "".join(path.read_text(encoding="utf-8") for path in sorted(Path("workflow/rules").glob("*.smk")))
commands = list(dict.fromkeys(re.findall(r'code_version\(\s*"([\w-]+)"', rules)))
imported = {command: sources(command, *METHODS.get(command, ())) for command in commands}

of_commands = {Path(load_command(command).__file__) for command in COMMANDS}
modules = defaultdict(list)  # by the commands that run again
for path in sorted(PACKAGE.rglob("*.py")):
    if path.read_text(encoding="utf-8").strip() and path not in of_commands:
        name = path.relative_to(PACKAGE).with_suffix("").as_posix()
        modules[tuple(command for command in commands if path in imported[command])].append(f"`{name}`")
print("| a statement changed in | runs again |\n|---|---|")
for found, names in sorted(modules.items(), key=lambda item: (len(item[0]), item)):
    again = "all of them" if len(found) == len(commands) else ", ".join(found) or "nothing"
    print(f"| {', '.join(names)} | {again} |")
