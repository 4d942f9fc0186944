"""The workflow of the tests of the plugin's fixtures."""

from typing import Any

import pytest

from tests.testing.planted import hotel
from twelvefold import Workflow


@pytest.fixture
def twelvefold_workflows() -> list[Workflow]:
    return [hotel]


@pytest.fixture
def twelvefold_options() -> dict[str, Any]:
    return {}
