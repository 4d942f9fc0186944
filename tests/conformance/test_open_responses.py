"""Beside OpenAI's types those of the Open Responses specification hold, event by event.

It has no `mcp_call`, so the server's tools are shown as function calls here, or not at all.
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
    *("history", "settings", "background"),
    *("server's tool", "server's tool in a stream"),
)


SUITE = (
    *("basic-response", "streaming-response", "system-prompt", "tool-calling"),
    *("streaming-tool-call", "function-call-roundtrip", "image-input", "multi-turn"),
    *("server's tool by header", "server's tool hidden"),
)


async def test_nothing_differs_from_the_specification(service: Service) -> None:
    key = await service.key(PLACES[-2])

    script = [*command("python", "open_responses.py"), "service"]
    told = await service.run(script, key, at=service.plain)

    assert json.loads(told) == {case: [] for case in CASES}


async def test_the_cases_of_its_suite_pass_as_the_service_comes(service: Service) -> None:
    key = await service.key(PLACES[-3])

    script = [*command("python", "open_responses.py"), "suite"]
    told = await service.run(script, key, at=service.demo)

    assert json.loads(told) == {case: [] for case in SUITE}
