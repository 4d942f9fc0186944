"""The rate limit headers of every answer to a request that is counted."""

from dataclasses import replace

import httpx2
import pytest

from tests.web.doubles import TOKEN, api_key
from tests.web.serving import Serve, Served

JSON = {"content-type": "application/json"}
NAMES = [f"x-ratelimit-{name}-requests" for name in ("limit", "remaining", "reset")]


@pytest.fixture
async def api(serve: Serve) -> Served:
    api = await serve(headers={"authorization": f"Bearer {TOKEN}"})
    await api.web.services.store.add_key(replace(api_key(), rate_per_minute=7))
    await api.get("/models")
    return api


def limits(answer: httpx2.Response) -> list[str]:
    return [answer.headers.get(name, "") for name in NAMES]


async def test_each_answer_says_how_many_requests_are_left(api: Served) -> None:
    answers = [
        await api.get("/models"),
        await api.get("/responses/resp_1"),
        await api.get("/nothing"),
        await api.http.put("/v1/models"),
        await api.http.post("/v1/responses", content=b"{", headers=JSON),
        await api.get("/admin/runs"),
    ]

    assert [one.status_code for one in answers] == [200, 404, 404, 405, 400, 403]
    assert [limits(one)[0] for one in answers] == ["7"] * 6
    assert all(0 <= int(limits(one)[1]) < 7 for one in answers)
    rejected = await api.get("/models")
    while rejected.status_code == 200:
        rejected = await api.get("/models")
    assert rejected.status_code == 429
    assert limits(rejected)[:2] == ["7", "0"]
    assert 1 <= int(rejected.headers["retry-after"]) <= int(limits(rejected)[2].rstrip("s"))
