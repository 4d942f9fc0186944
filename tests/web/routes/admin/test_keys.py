"""API keys over `/v1/admin/keys`."""

import logging

import httpx2
import pytest

from tests.web.asking import error
from tests.web.routes.admin.conftest import OPERATOR, Site
from twelvefold.web.http.authentication import hash_of


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


async def models(site: Site, secret: str) -> httpx2.Response:
    return await site.ann.http.get("/v1/models", headers=bearer(secret))


async def test_a_new_key_works_and_its_secret_is_shown_once(site: Site) -> None:
    limits = {"workflows": ["shop"], "tools": ["buy"], "expires_in": 60, "priority": 3}

    made = (
        await site.ops.post("/admin/keys", {"name": "bot", "principal": "ann", **limits})
    ).json()
    listed = await site.ops.get("/admin/keys")

    secret = made.pop("secret")
    assert (await models(site, secret)).status_code == 200
    assert made in listed.json()["data"]
    assert secret not in listed.text
    assert hash_of(secret) not in listed.text
    assert (made["scopes"], made["workflows"]) == (["runs", "approve", "signal"], ["shop"])
    assert made["expires_at"] == pytest.approx(made["created_at"] + 60)


async def test_each_change_of_a_key_is_logged_with_the_operator(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made = (await site.ops.post("/admin/keys", {"name": "bot"})).json()
    await site.ops.post(f"/admin/keys/{made['id']}/rotate", {})
    await site.ops.http.delete(f"/v1/admin/keys/{made['id']}")

    logged = [one.__dict__["fields"] for one in caplog.records if one.msg == "operator_action"]

    about = {"operator": "olga", "key": "key-3", "changed": made["id"]}
    actions = ("create_key", "rotate_key", "revoke_key")
    assert logged == [{"action": action, **about} for action in actions]


async def test_keys_are_listed_by_page(site: Site) -> None:
    first = (await site.ops.get("/admin/keys", limit=2)).json()
    rest = (await site.ops.get("/admin/keys", limit=2, after=first["last_id"])).json()

    ids = [one["id"] for page in (first, rest) for one in page["data"]]
    assert (ids, first["has_more"], rest["has_more"]) == (["key-3", "key-2", "key-1"], True, False)
    answer = await site.ops.get("/admin/keys", after="key-9")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")


async def test_a_rotated_key_has_two_secrets_until_the_overlap_ends(site: Site) -> None:
    made = (await site.ops.post("/admin/keys", {"name": "bot"})).json()

    path = f"/admin/keys/{made['id']}/rotate"
    second = (await site.ops.post(path, {"overlap": 60})).json()
    assert [(await models(site, one["secret"])).status_code for one in (made, second)] == [200] * 2
    third = (await site.ops.post(path)).json()

    assert third["id"] == made["id"]
    assert (await models(site, third["secret"])).status_code == 200
    assert third["old_secret_until"] is not None


async def test_a_revoked_key_is_found_no_more(site: Site) -> None:
    made = (await site.ops.post("/admin/keys", {"name": "bot"})).json()

    answer = await site.ops.http.delete(f"/v1/admin/keys/{made['id']}")
    again = await site.ops.http.delete(f"/v1/admin/keys/{made['id']}")

    expected = {"id": made["id"], "object": "admin.key.deleted", "deleted": True}
    assert answer.json() == again.json() == expected
    assert (await models(site, made["secret"])).status_code == 401
    rotated = await site.ops.post(f"/admin/keys/{made['id']}/rotate")
    assert error(rotated) == (404, "key_not_found", None)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": "ann's"}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x", "principal": "ann "}, "principal"),
        ({"name": "x", "workflows": ["nope"]}, "name"),
        ({"name": "x", "scopes": ["root"]}, "scopes[0]"),
        ({"name": "x", "priority": 10}, "priority"),
    ],
)
async def test_an_invalid_key_is_400(site: Site, body: dict[str, object], param: str) -> None:
    answer = await site.ops.post("/admin/keys", body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_no_secret_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        made = (await site.ops.post("/admin/keys", {"name": "bot"})).json()
        rotated = (await site.ops.post(f"/admin/keys/{made['id']}/rotate")).json()

    everything = repr([vars(record) for record in caplog.records])
    assert "key_created" in everything
    assert "key_rotated" in everything
    assert not any(one in everything for one in (made["secret"], rotated["secret"], OPERATOR))
