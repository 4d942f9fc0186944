"""On every route, another tenant's id gets the same answer as an unknown one."""

import json
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from starlette.routing import Route

from tests.web.tenants import DATABASES, HELLO, Tenants, tenants, unused
from twelvefold.web.app import ROUTES

VARYING = {"date", "x-request-id", "content-length"}


@dataclass(frozen=True)
class Case:
    """A request with `{id}` where the id of this kind stands; `{own}` is Bob's conversation."""

    method: str
    path: str
    kind: str
    body: Any = None
    query: str = ""
    model: bool = False
    """Any id is accepted: the model is sent the same."""


def turn(**more: Any) -> Any:
    return {"model": "shop", "input": "x", **more}


def says(*items: Any, **more: Any) -> Any:
    return turn(input=list(items), **more)


RESULT = {"type": "function_call_output", "call_id": "{id}", "output": "x"}
CALL = {"type": "function_call", "call_id": "{id}", "name": "get_weather", "arguments": "{}"}
REFERENCE = {"type": "item_reference", "id": "{id}"}
APPROVAL = {"type": "mcp_approval_response", "approval_request_id": "{id}", "approve": True}
REQUEST = {"type": "mcp_approval_request", "id": "{id}", "name": "refund", "arguments": "{}"}
MCP_CALL = {"type": "mcp_call", "id": "{id}", "name": "buy", "arguments": "{}", "output": "x"}
ONE = "/v1/conversations/{conversation_id}"
RESPONSE = "/v1/responses/{response_id}"
CREATE = "/v1/responses"

IN_PATH = [
    Case("GET", RESPONSE, "response"),
    Case("GET", RESPONSE, "response", query="stream=true"),
    Case("GET", RESPONSE, "response", query="stream=true&starting_after=1"),
    Case("GET", RESPONSE, "response", query="starting_after=x"),
    Case("DELETE", RESPONSE, "response"),
    Case("POST", f"{RESPONSE}/cancel", "response", {}),
    Case("POST", f"{RESPONSE}/cancel", "response", {}, query="force=true"),
    Case("GET", f"{RESPONSE}/input_items", "response"),
    Case("GET", f"{RESPONSE}/input_items", "response", query="after=msg_1&order=asc"),
    Case("GET", ONE, "conversation"),
    Case("POST", ONE, "conversation", {"metadata": {"a": "b"}}),
    Case("POST", ONE, "conversation", {"metadata": 1}),
    Case("DELETE", ONE, "conversation"),
    Case("GET", f"{ONE}/items", "conversation"),
    Case("GET", f"{ONE}/items", "conversation", query="limit=1&after=msg_1"),
    Case("POST", f"{ONE}/items", "conversation", {"items": [HELLO]}),
    Case("POST", f"{ONE}/items", "conversation", {"items": []}),
    Case("GET", f"{ONE}/items/msg_1", "conversation"),
    Case("DELETE", f"{ONE}/items/msg_1", "conversation"),
    Case("GET", f"{ONE}/journal", "conversation"),
    Case("GET", f"{ONE}/journal", "conversation", query="after=1&limit=1"),
    Case("POST", f"{ONE}/fork", "conversation", {"position": 1}),
    Case("POST", f"{ONE}/fork", "conversation", {"position": 10_000}),
    Case("POST", f"{ONE}/cancel", "conversation", {}),
    Case("GET", "/v1/conversations/{own}/items/{item_id}", "item"),
    Case("DELETE", "/v1/conversations/{own}/items/{item_id}", "item"),
    Case("GET", "/v1/models/{model}", "response"),
    Case("GET", "/static/{name}", "response"),
]
REFERRING = [
    *(
        Case("POST", CREATE, kind, body | how)
        for how in ({}, {"stream": True}, {"background": True}, {"store": False})
        for kind, body in (
            ("response", turn(previous_response_id="{id}")),
            ("conversation", turn(conversation="{id}")),
            ("item", says(REFERENCE)),
            ("approval", says(APPROVAL)),
            ("call", says(RESULT)),
            ("question", says(RESULT)),
        )
    ),
    Case("POST", CREATE, "response", turn(previous_response_id="{id}", model="other")),
    Case("POST", CREATE, "response", says(RESULT | {"call_id": "x"}, previous_response_id="{id}")),
    Case("POST", CREATE, "response", says(APPROVAL, previous_response_id="{id}")),
    Case("POST", CREATE, "conversation", turn(conversation={"id": "{id}"})),
    Case("POST", CREATE, "conversation", says(RESULT | {"call_id": "x"}, conversation="{id}")),
    Case("POST", CREATE, "conversation", says(APPROVAL, conversation="{id}")),
    Case("POST", CREATE, "approval", says(APPROVAL, previous_response_id="{response}")),
    Case("POST", CREATE, "approval", says(APPROVAL, conversation="{own}")),
    Case("POST", CREATE, "approval", says(REQUEST, APPROVAL)),
    Case("POST", CREATE, "approval", says(REQUEST, HELLO), model=True),
    Case("POST", CREATE, "item", says({"id": "{id}"})),
    Case("POST", CREATE, "item", says(REFERENCE, conversation="{own}")),
    Case("POST", CREATE, "item", says(MCP_CALL, HELLO), model=True),
    Case(
        "POST",
        CREATE,
        "approval",
        says(MCP_CALL | {"approval_request_id": "{id}"}, HELLO),
        model=True,
    ),
    Case("POST", CREATE, "item", says({**HELLO, "id": "{id}"}), model=True),
    Case("POST", CREATE, "call", says(CALL)),
    Case("POST", CREATE, "call", says(CALL, RESULT), model=True),
    Case("POST", CREATE, "call", says(RESULT, previous_response_id="{response}")),
    Case("POST", CREATE, "call", says(RESULT, conversation="{own}")),
    Case("POST", "/v1/conversations", "item", {"items": [REFERENCE]}),
    Case("POST", "/v1/conversations", "call", {"items": [RESULT]}),
    Case("POST", "/v1/conversations/{own}/items", "item", {"items": [REFERENCE]}),
    Case("POST", "/v1/conversations/{own}/items", "call", {"items": [RESULT]}),
    Case("GET", "/v1/conversations/{own}/items", "item", query="after={id}"),
    Case("GET", "/v1/responses/{response}/input_items", "item", query="after={id}"),
    Case("GET", "/v1/conversations", "conversation", query="after={id}"),
    *(
        Case("GET", "/v1/questions", kind, query="after={id}")
        for kind in ("question", "approval", "call", "response", "conversation", "item")
    ),
    *(
        Case("POST", "/v1/answers", kind, {"call_id": "{id}", "output": output})
        for kind in ("question", "approval", "call", "response", "conversation", "item")
        for output in ("red", 7)
    ),
    Case(
        "POST",
        "/v1/chat/completions",
        "call",
        {"model": "shop", "messages": [{"role": "tool", "tool_call_id": "{id}", "content": "x"}]},
    ),
]
NO_REFERENCES = {
    *(("GET", path) for path in ("/healthz", "/readyz", "/version", "/openapi.json", "/")),
    *(("GET", path) for path in ("/operations", "/v1/models")),
    ("POST", "/v1/signals"),  # a key names an event of the caller's own
    *((method, "/v1/responses/compact") for method in ("GET", "POST", "DELETE")),
    *((method, "/v1/responses/input_tokens") for method in ("GET", "POST", "DELETE")),
}
"""Routes whose requests name nothing that belongs to a tenant."""


def routes() -> set[tuple[str, str]]:
    """Return all routes but those of operators, which see what belongs to any tenant."""
    found: set[tuple[str, str]] = set()
    for route in ROUTES:
        assert isinstance(route, Route)
        if route.path.startswith("/v1/admin"):
            continue
        found |= {(method, route.path) for method in route.methods or () if method != "HEAD"}
    return found


def _pattern(path: str) -> str:
    named = path.replace("{own}", "{conversation_id}").replace("{response}", "{response_id}")
    return named.replace("msg_1", "{item_id}").replace(":path}", "}")


def test_every_route_has_a_case() -> None:
    covered = {(case.method, _pattern(case.path)) for case in (*IN_PATH, *REFERRING)}

    assert {(method, _pattern(path)) for method, path in routes()} == covered | NO_REFERENCES


def filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: filled(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, names) for one in value]
    if isinstance(value, str):
        for name, id in names.items():
            value = value.replace(f"{{{name}}}", id)
    return value


async def asked(both: Tenants, case: Case, id: str) -> dict[str, Any]:
    """What Bob gets for a request with this id, without the id."""
    names = {"id": id, "own": both.own["conversation"], "response": both.own["response"]}
    names |= dict.fromkeys(("response_id", "conversation_id", "item_id", "model", "name"), id)
    both.model.requests.clear()
    answer = await both.bob.http.request(
        case.method,
        filled(case.path, names),
        params=filled(case.query, names) or None,
        json=filled(case.body, names),
    )
    if case.model:
        assert answer.status_code == 200, answer.text
        sent = str([request.items for request in both.model.requests])
        return {"status": 200, "sent": sent.replace(id, "…")}
    return _comparable(answer, id)


def _comparable(answer: httpx2.Response, id: str) -> dict[str, Any]:
    headers = {k: v for k, v in answer.headers.items() if k not in VARYING and "limit" not in k}
    return {
        "status": answer.status_code,
        "headers": headers,
        "body": answer.text.replace(id, "…"),
    }


def elsewhere(id: str) -> str:
    """An id that names a thread of Ann's and something that is not in it."""
    prefix, _, rest = id.partition("_")
    return f"{prefix}_{rest[:44]}999{rest[47:]}" if len(rest) > 44 else unused(id)


async def seen(both: Tenants) -> dict[str, Any]:
    """All that Ann sees of what she has."""
    visible: dict[str, Any] = {"all": (await both.ann.get("/conversations", limit=100)).json()}
    visible["questions"] = (await both.ann.get("/questions", limit=100)).json()
    for id in both.ids["response"].values():
        visible[id] = (await both.ann.get(f"/responses/{id}")).json()
        visible[f"{id} input"] = (await both.ann.get(f"/responses/{id}/input_items")).json()
    for id in both.ids["conversation"].values():
        visible[id] = (await both.ann.get(f"/conversations/{id}")).json()
        visible[f"{id} journal"] = (await both.ann.get(f"/conversations/{id}/journal")).json()
    return visible


@pytest.mark.mysql
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kind",
    [pytest.param(one, marks=() if one == "sqlite" else pytest.mark.slow) for one in DATABASES],
)
async def test_another_tenants_ids_are_as_if_they_did_not_exist(kind: str) -> None:
    async with tenants(kind) as both:
        before = await seen(both)
        different = []

        for case in (*IN_PATH, *REFERRING):
            ids = both.ids[case.kind]
            expected = await asked(both, case, unused(next(iter(ids.values()))))
            others = {"in a thread that is there": elsewhere(next(iter(ids.values())))}
            for state, id in (ids | others).items():
                found = await asked(both, case, id)
                if found != expected:
                    different.append((case, state, found, expected))

        assert different == []
        assert await seen(both) == before


def malformed(id: str) -> dict[str, str]:
    """Texts that are no id at all, and those that only look like this one."""
    prefix, _, rest = id.partition("_")
    return {
        "a word": "x",
        "a prefix": f"{prefix}_",
        "upper case": f"{prefix}_{rest.upper()}z",
        "too short": id[:-12],
        "too long": f"{id}00000000000",
        "no hexadecimal": f"{prefix}_{'g' * 44}{rest[44:]}",
        "another prefix": f"x{id}",
        "a part that is none": f"{id}c0",
        "a quote": "it's",
        "a space": "a b",
        "beyond ASCII": "\u00e9\u202e",
    }


@pytest.mark.slow
async def test_a_malformed_id_is_answered_as_an_unknown_one() -> None:
    async with tenants("sqlite") as both:
        different = []

        for case in (*IN_PATH, *REFERRING):
            # In a turn the id of a question may be that of a client's call.
            if case.kind == "question" and case.path == CREATE:
                continue
            # A call's id is any text; a list of conversations begins behind any id of theirs.
            if case.model or case.kind == "call" or case.path == "/v1/conversations":
                continue
            id = unused(next(iter(both.ids[case.kind].values())))
            expected = kind_of(await asked(both, case, id))
            for form, text in malformed(id).items():
                found = kind_of(await asked(both, case, text))
                if found != expected:
                    different.append((case.method, case.path, case.body, form, found, expected))

        assert different == []


def kind_of(answer: dict[str, Any]) -> tuple[Any, ...]:
    """An answer without its message, which quotes the text as it came."""
    try:
        error = json.loads(answer["body"]).get("error")
    except ValueError:
        error = None
    kind = error and (error["type"], error["param"], error["code"])
    return answer["status"], answer["headers"], kind


async def test_another_tenants_idempotency_key_is_a_new_one() -> None:
    async with tenants("sqlite") as both:
        key = {"Idempotency-Key": "order-7"}
        mine = await both.ann.post("/responses", turn(), headers=key)

        theirs = await both.bob.post("/responses", turn(), headers=key)
        other = await both.bob.post("/responses", turn(input="y"), headers={"Idempotency-Key": "z"})

        assert (mine.status_code, theirs.status_code, other.status_code) == (200, 200, 200)
        assert mine.json()["id"] != theirs.json()["id"]
        assert theirs.headers.keys() == other.headers.keys()
