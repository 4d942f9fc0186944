"""`GET /v1/admin/workers`."""

from tests.web.routes.admin.conftest import Site
from twelvefold.core import Process


async def test_an_operator_sees_the_processes(site: Site) -> None:
    store = site.ops.web.services.store
    worker = Process("w1", "worker", "1.0", "host-1", 71, runs=3)
    await store.record_heartbeat(worker)

    page = (await site.ops.get("/admin/workers")).json()

    [found] = page["data"]
    started, beat = found.pop("started_at"), found.pop("heartbeat_at")
    assert 0 < started <= beat
    assert 0 <= found.pop("heartbeat_age_s") < 60
    assert found == {
        "id": "w1",
        "object": "admin.process",
        "kind": "worker",
        "release": "1.0",
        "host": "host-1",
        "pid": 71,
        "runs": 3,
    }
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("w1", "w1", False)


async def test_the_list_has_no_pages(site: Site) -> None:
    answer = await site.ops.get("/admin/workers", limit=5)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "limit")
