"""The JSON schemas in git are those of the code."""

import json
from pathlib import Path

import pytest

from captionrl.config import Paper, Params

SCHEMAS = Path(__file__).parents[2] / "workflow/schemas"


@pytest.mark.parametrize("model", [Params, Paper])
def test_schema_has_not_drifted(model):
    kept = json.loads((SCHEMAS / f"{model.__name__.lower()}.schema.json").read_text(encoding="utf-8"))
    assert kept == model.model_json_schema(), "run: captionrl schema --out workflow/schemas"
