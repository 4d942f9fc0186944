"""What only the official client has words for, told as facts: argv[1] is a second process."""

import json
import sys
import time
from typing import Any

import openai
from openai import OpenAI
from openai.types.responses import Response
from openai.types.responses.response_output_item import McpApprovalRequest, McpCall

OVER = {"completed", "failed", "cancelled", "incomplete"}
POLLS_S = 0.05
here = OpenAI(_strict_response_validation=True)
there = OpenAI(base_url=sys.argv[1], _strict_response_validation=True)
wish = sys.argv[2]


def background() -> dict[str, Any]:
    """Begun here, polled there."""
    response = here.responses.create(model="enrolment", input=wish, background=True)
    statuses = [response.status]
    while response.status not in OVER:
        time.sleep(POLLS_S)
        response = there.responses.retrieve(response.id)
        statuses.append(response.status)
    return {"first": statuses[0], "last": statuses[-1], "text": response.output_text}


def resumed() -> dict[str, Any]:
    """Dropped here after four events, gone on with there."""
    few = []
    with here.responses.create(
        model="enrolment", input="Count to 300.", background=True, stream=True
    ) as stream:
        for event in stream:
            few.append(event)
            if len(few) == 4:
                break
    assert few[0].type == "response.created"
    id, after = few[0].response.id, few[-1].sequence_number
    midway = there.responses.retrieve(id).status
    rest = list(there.responses.retrieve(id, stream=True, starting_after=after))
    later = list(here.responses.retrieve(id, stream=True))
    with there.responses.stream(response_id=id, starting_after=after) as helped:
        final = helped.get_final_response()
    return {
        "midway": midway,
        "dropped_and_resumed": [event.to_dict(mode="json") for event in few + rest],
        "replayed": [event.to_dict(mode="json") for event in later],
        "text": final.output_text,
    }


def cancelled() -> dict[str, Any]:
    """Cancelled there while it runs here; and what cannot be cancelled."""
    response = here.responses.create(model="enrolment", input="Count to 30000.", background=True)
    while response.status == "queued":
        time.sleep(POLLS_S)
        response = here.responses.retrieve(response.id)
    running = response.status
    told = [there.responses.cancel(response.id).status, here.responses.cancel(response.id).status]
    events = list(here.responses.retrieve(response.id, stream=True))
    foreground = here.responses.create(model="enrolment", input="Hello!")
    return {
        "before": running,
        "told": [*told, here.responses.retrieve(response.id).status],
        "last_event": events[-1].type,
        "foreground": _refused(lambda: here.responses.cancel(foreground.id)),
    }


def conversed() -> dict[str, Any]:
    """Two turns, one at each process, then away with it."""
    conversation = here.conversations.create(metadata={"for": "a test"})
    first = here.responses.create(model="enrolment", input="Hello!", conversation=conversation.id)
    second = there.responses.create(
        model="enrolment", input="What did I say?", conversation=conversation.id
    )
    items = list(there.conversations.items.list(conversation.id, order="asc", limit=3))
    kept = there.conversations.update(conversation.id, metadata={"for": "another"})
    here.conversations.delete(conversation.id)
    return {
        "metadata": kept.metadata,
        "named": [r.conversation.id == conversation.id for r in (first, second) if r.conversation],
        "items": [(item.type, getattr(item, "role", None)) for item in items],
        "text": second.output_text,
        "deleted": _refused(lambda: here.conversations.retrieve(conversation.id)),
    }


def approved() -> dict[str, Any]:
    """One refund is allowed, twice; the other one is not."""
    yes, no = _asked_to_refund("A-17"), _asked_to_refund("A-18")
    done = _answered(there, yes, allow=True)
    left = _answered(here, no, allow=False)
    (call,) = (item for item in done.output if isinstance(item, McpCall))
    return {
        "request": [_request(yes).name, json.loads(_request(yes).arguments)],
        "call": [call.name, call.approval_request_id == _request(yes).id, call.output],
        "refused": [item.type for item in left.output],
        "again": _refused(lambda: _answered(here, yes, allow=True)),
    }


def _asked_to_refund(order: str) -> Response:
    return here.responses.create(model="refunds", input=f"Refund: {order}")


def _request(response: Response) -> McpApprovalRequest:
    (item,) = (item for item in response.output if isinstance(item, McpApprovalRequest))
    return item


def _answered(client: OpenAI, asked: Response, *, allow: bool) -> Response:
    return client.responses.create(
        model="refunds",
        previous_response_id=asked.id,
        input=[
            {
                "type": "mcp_approval_response",
                "approval_request_id": _request(asked).id,
                "approve": allow,
            }
        ],
    )


def _refused(ask: Any) -> list[Any]:
    try:
        ask()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.code]
    return []


print(
    json.dumps(
        {
            "background": background(),
            "resumed": resumed(),
            "cancelled": cancelled(),
            "conversed": conversed(),
            "approved": approved(),
        }
    )
)
