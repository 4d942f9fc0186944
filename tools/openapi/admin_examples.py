"""An example of each body and each answer of `/v1/admin`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from twelvefold.web.schemas.admin import outbox, runs

_ID = "01a22784967b709cf5dd7abe1f8c6d2b81495ae039af"
_RUN: Mapping[str, Any] = {
    "id": f"resp_{_ID}1",
    "object": "admin.run",
    "thread": f"conv_{_ID}",
    "run": 1,
    "workflow": "enrolment",
    "principal": "ann",
    "status": "failed",
    "error": "tool `enrol` raised RuntimeError three times in a row",
    "attempts": 0,
    "created_at": 1795959330.52,
    "updated_at": 1795959334.75,
    "finished_at": 1795959334.75,
    "usage": {"input_tokens": 841, "output_tokens": 21, "cost_usd": 0.0042},
    "parent": None,
    "release": "1.0.0",
    "background": False,
    "leased": False,
    "cancel_requested": False,
}


def listed(*data: Mapping[str, Any], **more: Any) -> Mapping[str, Any]:
    """Return a page with these objects."""
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"], "has_more": False}
    return {"object": "list", "data": data, **ends, **more}


_ERROR = {"type": "RuntimeError", "message": "the printer is off", "file": "tools.py", "line": 12}
_SPAN = {"attempts": 1, "input_tokens": 0, "output_tokens": 0}
_DETAIL = {
    **_RUN,
    "timeline": [
        {
            **_SPAN,
            "kind": "model",
            "name": "gpt-5",
            "started_at": 1795959330.6,
            "ended_at": 1795959331.9,
            "status": "completed",
            "input_tokens": 841,
            "output_tokens": 21,
            "call_id": None,
            "position": 2,
        },
        {
            **_SPAN,
            "kind": "tool",
            "name": "enrol",
            "started_at": 1795959331.9,
            "ended_at": 1795959332.1,
            "status": "fault",
            "call_id": "2.0",
            "position": 3,
        },
    ],
    "timeline_is_cut": False,
    "waiting": [],
    "failure": {
        "reason": "tool_faults",
        "error": _RUN["error"],
        "tool_errors": [{"tool": "enrol", "call_id": "2.0", "position": 3, **_ERROR}],
    },
    "children": [],
    "actions": ["retry", "fork"],
}
_OPEN = {
    "id": f"mcpr_{_ID}2.0",
    "kind": "approval",
    "run": f"resp_{_ID}1",
    "thread": f"conv_{_ID}",
    "workflow": "enrolment",
    "principal": "ann",
    "person": "ann",
    "call_id": "2.0",
    "tool": "withdraw",
    "arguments": '{"course":"DB-101"}',
    "question": None,
    "schema": None,
    "asked_at": 1795959331.92,
    "expires_at": None,
}
_ACTION = {
    "object": "admin.action",
    "id": f"resp_{_ID}2",
    "thread": f"conv_{_ID}",
    "status": "queued",
}
_MESSAGE = {
    "id": "01a22784967b4.0-1",
    "object": "admin.message",
    "state": "dead",
    "kind": "mail",
    "thread": f"conv_{_ID}",
    "to": "ann@example.org",
    "subject": "You are enrolled",
    "attempts": 8,
    "due_at": 1795959330.52,
    "sent_at": None,
    "dead_at": 1795966530.52,
    "error": "550 no such user",
}
ADMIN_EXAMPLES: Mapping[type[msgspec.Struct], Mapping[str, Any]] = {
    runs.AdminRunList: listed(_RUN, next=None),
    runs.AdminRunDetail: _DETAIL,
    runs.OpenCallList: {"object": "list", "data": [_OPEN], "has_more": False, "next": None},
    runs.ExportedEntry: {
        "position": 7,
        "run": 1,
        "type": "RunFinished",
        "version": 1,
        "at_us": 1795959334750000,
        "body": {"status": "completed"},
    },
    runs.AdminAction: _ACTION,
    runs.ResumeRun: {"approve": False, "call_id": "12.0", "reason": "too expensive"},
    runs.SettleRun: {"settled": "done", "call_id": "12.0", "result": "it was printed"},
    runs.ForkRun: {"position": 4},
    outbox.AdminMessage: _MESSAGE,
    outbox.AdminMessageList: listed(_MESSAGE),
}
