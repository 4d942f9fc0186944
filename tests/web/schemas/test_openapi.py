"""The committed OpenAPI document is the generated one, and the service's answers fit it."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # has no types

from tests.web.asking import WEATHER, approval
from tests.web.serving import Json, Served
from tools.openapi.document import DOCUMENT, VARIANTS, document, text_of
from tools.openapi.examples import EXAMPLES
from tools.openapi.operations import OPERATIONS
from twelvefold.web.schemas.decode import decode
from twelvefold.web.schemas.types import RequestObject

OPENAPI = document()
BODIES = [one for one in OPERATIONS if one.body]
COMPONENTS: Json = {"components": json.loads(json.dumps(OPENAPI["components"]))}


def problems(schema: Json, value: object) -> list[str]:
    """Return where a value does not fit a schema of the document."""
    found = Draft202012Validator(COMPONENTS | schema).iter_errors(value)
    return [f"{one.json_path}: {one.message}" for one in found]


def content(where: Json, media: str = "application/json") -> Json:
    found: Json = where["content"][media]
    return found


def answer_of(path: str, method: str, status: int = 200) -> Json:
    found: Json = OPENAPI["paths"][path][method]["responses"][str(status)]
    while "$ref" in found:
        found = OPENAPI["components"]["responses"][found["$ref"].rpartition("/")[2]]
    return found


def test_the_committed_document_is_the_generated_one() -> None:
    assert DOCUMENT.read_text() == text_of(OPENAPI) + "\n", "run `make reference`"
    assert json.loads(DOCUMENT.read_text()) == json.loads(json.dumps(OPENAPI))


def test_no_description_is_indented() -> None:
    """Indented text is code in Markdown."""
    schemas = OPENAPI["components"]["schemas"]

    indented = [name for name, one in schemas.items() if "\n " in one.get("description", "")]

    assert indented == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.id)
def test_every_example_fits_its_schema(operation: Any) -> None:
    described = OPENAPI["paths"][operation.path][operation.method]
    answers = [answer_of(operation.path, operation.method, int(n)) for n in described["responses"]]
    bodies = [described["requestBody"]] if operation.body else []

    for where in (*bodies, *answers):
        for about in where["content"].values():
            plain = json.loads(json.dumps(about["example"]))
            assert problems(about["schema"], plain) == []


@pytest.mark.parametrize("operation", BODIES, ids=lambda one: one.id)
def test_every_example_of_a_body_is_accepted(operation: Any) -> None:
    assert isinstance(decode(EXAMPLES[operation.body], operation.body), operation.body)


def test_every_struct_of_a_request_is_described() -> None:
    """A struct that is not reached from an operation would be described nowhere."""
    described = OPENAPI["components"]["schemas"]
    kinds: list[type[RequestObject]] = [RequestObject]
    for kind in kinds:
        kinds += kind.__subclasses__()

    ours = [kind for kind in kinds if kind.__module__.startswith("twelvefold.")]
    ends = [kind.__name__ for kind in ours if not kind.__subclasses__()]
    assert [name for name in ends if name not in described] == []
    assert [one.__name__ for one in VARIANTS if one.__name__ not in described] == []


# --- the service's answers ------------------------------------------------------------------------


async def call(api: Served, method: str, path: str, body: Json | None = None, **ids: str) -> Json:
    """Return the answer of an operation; assert that it fits the document."""
    more: dict[str, Any] = {} if body is None else {"json": body}
    answer = await api.http.request(method, path.format(**ids), **more)
    value: Json = answer.json()
    described = answer_of(path, method, answer.status_code)
    assert problems(content(described)["schema"], value) == []
    if answer.status_code == 200 and body is not None:
        schema = OPENAPI["paths"][path][method]["requestBody"]["content"]["application/json"]
        assert problems(schema["schema"], body) == []
    return value


ONE_RESPONSE = "/v1/responses/{response_id}"
ONE_CONVERSATION = "/v1/conversations/{conversation_id}"
ITEMS = f"{ONE_CONVERSATION}/items"


async def test_answers_about_responses_fit_the_document(api: Served) -> None:
    turn = {"model": "shop", "input": "buy a lamp", "metadata": {"a": "b"}, "background": True}
    made = await call(api, "post", "/v1/responses", turn)
    ids = {"response_id": made["id"]}
    await api.settled(made["id"])

    done = await call(api, "get", ONE_RESPONSE, **ids)
    await call(api, "get", f"{ONE_RESPONSE}/input_items", **ids)
    await call(api, "post", f"{ONE_RESPONSE}/cancel", **ids)
    deleted = await call(api, "delete", ONE_RESPONSE, **ids)
    missing = await call(api, "get", ONE_RESPONSE, **ids)

    assert [item["type"] for item in done["output"]] == ["mcp_call", "message"]
    assert deleted["deleted"]
    assert missing["error"]["code"] == "not_found"


async def test_approvals_and_calls_of_the_callers_tools_fit_the_document(api: Served) -> None:
    _, request = await approval(api)
    asks = {"model": "shop", "input": "call get_weather", "tools": [WEATHER]}

    called = await call(api, "post", "/v1/responses", asks)

    assert problems({"$ref": "#/components/schemas/McpApprovalRequest"}, request) == []
    assert [item["type"] for item in called["output"]] == ["function_call"]


async def test_answers_about_conversations_fit_the_document(api: Served) -> None:
    item = {"role": "user", "content": "hello"}
    made = await call(api, "post", "/v1/conversations", {"items": [item]})
    ids = {"conversation_id": made["id"]}
    await api.ask("buy a lamp", conversation=made["id"])

    await call(api, "post", ONE_CONVERSATION, {"metadata": {"a": "b"}}, **ids)
    await call(api, "get", ONE_CONVERSATION, **ids)
    await call(api, "get", "/v1/conversations")
    added = await call(api, "post", ITEMS, {"items": [item]}, **ids)
    listed = await call(api, "get", ITEMS, **ids)
    one = {**ids, "item_id": added["data"][0]["id"]}
    await call(api, "get", f"{ITEMS}/{{item_id}}", **one)
    await call(api, "delete", f"{ITEMS}/{{item_id}}", **one)
    await call(api, "get", f"{ONE_CONVERSATION}/journal", **ids)
    forked = await call(api, "post", f"{ONE_CONVERSATION}/fork", {"position": 1}, **ids)
    await call(api, "post", f"{ONE_CONVERSATION}/cancel", **ids)
    await call(api, "delete", ONE_CONVERSATION, **ids)

    assert len(listed["data"]) == 5
    assert forked["forked_from"] == {"id": made["id"], "position": 1}


@pytest.mark.parametrize("tools", [[], [{"type": "function", "function": {"name": "get_weather"}}]])
async def test_a_chat_completion_fits_the_document(api: Served, tools: list[Json]) -> None:
    messages = [{"role": "user", "content": "call get_weather" if tools else "hello"}]

    answer = await call(
        api,
        "post",
        "/v1/chat/completions",
        {"model": "shop", "messages": messages, "tools": tools, "presence_penalty": 0},
    )

    assert ("tool_calls" in answer["choices"][0]["message"]) == bool(tools)


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/models/{model}", "/healthz", "/readyz", "/version"]
)
async def test_answers_about_the_process_fit_the_document(api: Served, path: str) -> None:
    assert await call(api, "get", path, model="shop")


async def test_a_refusal_fits_the_document(api: Served) -> None:
    refused = await call(api, "post", "/v1/responses", {"model": "shop", "input": 7})

    assert refused["error"]["param"] == "input"
