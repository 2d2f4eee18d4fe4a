"""A project of a user's own: the files that `captionrl init` writes, from the templates in this folder."""

import os
import re
from pathlib import Path
from string import Template

from pydantic import ValidationError

from captionrl.config import Backbone, load_paper
from captionrl.config.base import Name, Strict, complaint
from captionrl.datasets.read import is_known
from captionrl.errors import UserError
from captionrl.files import write_text
from captionrl.pipeline import PIPELINE

TEMPLATES = Path(__file__).parent
BACKBONE = "efficientnet-lite0"  # knows real pictures


class Project(Strict):
    """What its files are about."""

    name: Name  # of the paper
    corpus: Name
    backbone: Backbone

    def files(self) -> dict[str, str]:
        """{path below the project's folder: content}."""
        templates = {
            "params.yaml": TEMPLATES / "params.yaml",
            f"papers/{self.name}/own.yaml": TEMPLATES / "own.yaml",
            f"data/{self.corpus}/README": TEMPLATES / "README",
            "Snakefile": TEMPLATES / "Snakefile",
            ".gitignore": TEMPLATES / "gitignore",
        }
        files = {path: Template(file.read_text()).substitute(self.model_dump()) for path, file in templates.items()}
        profile = "profiles/default/config.yaml"
        return {**files, profile: (PIPELINE / profile).read_text()}


def rule_names() -> set[str]:
    """Of the workflow: targets that no paper and no corpus can be called."""
    files = (PIPELINE / "Snakefile", TEMPLATES / "Snakefile", *(PIPELINE / "workflow/rules").glob("*.smk"))
    return {name for file in files for name in re.findall(r"^ *(?:rule|checkpoint) (\w+):", file.read_text(), re.M)}


def write_project(folder: Path, name: str, corpus: str, backbone: str) -> None:
    """Write the files of a project: one paper, `name`, about the corpus `corpus`.

    Raises UserError for a name that cannot be one and for a folder that holds one of the files already. Whatever goes
    wrong, the folder is as it was before.
    """
    try:
        project = Project.model_validate({"name": name, "corpus": corpus, "backbone": backbone})
    except ValidationError as error:
        raise UserError(f"--{complaint(error, Project)}") from None
    if is_known(corpus) or corpus.endswith("-mini"):
        raise UserError(f"--corpus: {corpus}: a data set is so called; choose another name")
    for key, given in (("name", name), ("corpus", corpus)):
        if given in rule_names():
            raise UserError(f"--{key}: {given}: a rule of the workflow is so called; choose another name")
    if name == corpus:
        raise UserError(f"--corpus: {corpus}: the project is so called, and both name a target; choose another name")
    files = project.files()
    if there := [path for path in files if os.path.lexists(folder / path)]:
        raise UserError(f"{folder}: holds {', '.join(there)} already; choose another folder, or move what is there")
    made: list[Path] = []
    try:
        for path, text in files.items():
            for parent in reversed((folder / path).parents):
                if not parent.exists():
                    parent.mkdir()
                    made.append(parent)
            write_text(folder / path, text)
            made.append(folder / path)
        load_paper(folder / "papers" / name, "own")  # not every backbone fits
    except BaseException:
        for one in reversed(made):
            one.rmdir() if one.is_dir() else one.unlink()
        raise
