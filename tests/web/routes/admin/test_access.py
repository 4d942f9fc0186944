"""Only operators reach `/v1/admin`. Every route there is covered, also those of other modules."""

import pytest
from starlette.routing import Route

from tests.web.routes.admin.conftest import Site
from tests.web.serving import Serve
from twelvefold.web.app import ROUTES

ADMIN = [
    (method, one.path)
    for one in ROUTES
    if isinstance(one, Route) and one.path.startswith("/v1/admin")
    for method in sorted((one.methods or set()) - {"HEAD"})
]


def filled(path: str, id: str) -> str:
    """Return a path with the same id for each of its parameters."""
    return "/".join(id if part.startswith("{") else part for part in path.split("/"))


@pytest.mark.parametrize(("method", "path"), ADMIN)
async def test_a_tenant_gets_403_and_learns_nothing(site: Site, method: str, path: str) -> None:
    own = (await site.ann.ask("hi"))["id"]
    answers = []
    for id in (own, "resp_none", "%00"):
        answer = await site.bob.http.request(method, filled(path, id), content=b"{}")
        answers.append((answer.status_code, answer.text))

    assert set(answers) == {answers[0]}
    assert answers[0][0] == 403
    assert "missing_scope" in answers[0][1]


@pytest.mark.parametrize(("method", "path"), ADMIN)
async def test_no_key_and_an_unknown_key_get_401(site: Site, method: str, path: str) -> None:
    url = filled(path, "x")
    for value in ("", f"Bearer tw_{'z' * 43}"):
        answer = await site.ann.http.request(method, url, headers={"authorization": value})

        assert answer.status_code == 401


async def test_an_operator_without_other_scopes_changes_nothing_of_its_own(site: Site) -> None:
    assert (await site.ops.get("/admin/runs")).status_code == 200
    answer = await site.ops.post("/responses", {"model": "shop", "input": "x"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "missing_scope")


async def test_without_keys_the_local_user_is_an_operator(serve: Serve) -> None:
    api = await serve()

    assert (await api.get("/admin/runs")).status_code == 200
