"""Examples of the operations of `operator_operations`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tools.openapi.admin_examples import ID, RUN, listed
from twelvefold.web.schemas.admin import outbox, runs

_ERROR = {"type": "RuntimeError", "message": "the printer is off", "file": "tools.py", "line": 12}
_SPAN = {"attempts": 1, "input_tokens": 0, "output_tokens": 0}
_DETAIL = {
    **RUN,
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
        "error": RUN["error"],
        "tool_errors": [{"tool": "enrol", "call_id": "2.0", "position": 3, **_ERROR}],
    },
    "children": [],
    "actions": ["retry", "fork"],
}
_OPEN = {
    "id": f"mcpr_{ID}2.0",
    "kind": "approval",
    "run": f"resp_{ID}1",
    "thread": f"conv_{ID}",
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
    "id": f"resp_{ID}2",
    "thread": f"conv_{ID}",
    "status": "queued",
}
_MESSAGE = {
    "id": "01a22784967b4.0-1",
    "object": "admin.message",
    "state": "dead",
    "kind": "mail",
    "thread": f"conv_{ID}",
    "to": "ann@example.org",
    "subject": "You are enrolled",
    "attempts": 8,
    "due_at": 1795959330.52,
    "sent_at": None,
    "dead_at": 1795966530.52,
    "error": "550 no such user",
}
OPERATOR_EXAMPLES: Mapping[type[msgspec.Struct], Mapping[str, Any]] = {
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
