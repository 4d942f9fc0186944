"""Beside OpenAI's types those of the Open Responses specification hold, event by event.

It has no `mcp_call`, so the server's tools are shown as function calls here.
"""

import json

import pytest

from tests.conformance.conftest import PLACES
from tests.conformance.environments import command
from tests.conformance.service import Service

pytestmark = [
    pytest.mark.mysql,
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # it may be the one that installs the clients
    pytest.mark.asyncio(loop_scope="session"),
]
CASES = (
    *("text", "stream", "system", "tool", "tool in a stream"),
    *("picture", "history", "settings", "background"),
    *("server's tool", "server's tool in a stream"),
)


async def test_nothing_differs_from_the_specification(service: Service) -> None:
    key = await service.key(PLACES[-2])

    told = await service.run(command("python", "open_responses.py"), key, at=service.plain)

    assert json.loads(told) == {case: [] for case in CASES}
