import pytest
from toy import toy_policy

from captionrl.models import CLASSES, Policy


@pytest.fixture(params=CLASSES)
def policy(request: pytest.FixtureRequest) -> Policy:
    """Each captioner in turn, as a toy."""
    return toy_policy(request.param)
