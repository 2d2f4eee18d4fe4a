import shutil
from collections.abc import Callable

import pytest
from project import ROOT, Project


@pytest.fixture(scope="session")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    def new_project() -> Project:
        path = tmp_path_factory.mktemp("project")
        for name in ("Snakefile", "params.yaml", "papers", "profiles", "workflow"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, path / name)
        return Project(path)

    return new_project


@pytest.fixture(scope="session")
def project(new_project: Callable[[], Project]) -> Project:
    """A copy in which nothing is ever made."""
    return new_project()
