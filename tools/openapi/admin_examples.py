"""An example of each body and each answer of `/v1/admin`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from twelvefold.web.schemas.admin import budgets, keys, processes, runs, usage

ID = "01a22784967b709cf5dd7abe1f8c6d2b81495ae039af"
RUN: Mapping[str, Any] = {
    "id": f"resp_{ID}1",
    "object": "admin.run",
    "thread": f"conv_{ID}",
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


_BUDGET: Mapping[str, Any] = {
    "id": "bud_8f14e45fceea167a5a36dedd",
    "object": "admin.budget",
    "scope": "principal:ann",
    "principal": "ann",
    "key": None,
    "workflow": None,
    "window": "day",
    "over": "refuse",
    "limit": {"tokens": 2_000_000, "usd": None},
    "spent": {"tokens": 84_100, "usd": None},
    "reserved": {"tokens": 17_300, "usd": None},
    "renews_at": 1796083200.0,
}


def listed(*data: Mapping[str, Any], **more: Any) -> Mapping[str, Any]:
    """Return a page with these objects."""
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"], "has_more": False}
    return {"object": "list", "data": data, **ends, **more}


_KEY: Mapping[str, Any] = {
    "id": "key_5f0c1d9e8b7a6432",
    "object": "admin.key",
    "name": "site",
    "principal": "ann",
    "scopes": ["runs", "approve", "signal"],
    "workflows": ["enrolment"],
    "tools": None,
    "rate_per_minute": 600,
    "max_runs": None,
    "priority": 0,
    "created_at": 1795959330.52,
    "last_used_at": None,
    "expires_at": 1803735330.52,
    "old_secret_until": None,
    "revoked_at": None,
}
_SECRET: Mapping[str, Any] = {"secret": "tw_EXAMPLEexampleEXAMPLEexampleEXAMPLEexample01"}

_PROCESS: Mapping[str, Any] = {
    "id": "9f86d081884c7d659a2feaa0c55ad015",
    "object": "admin.process",
    "kind": "worker",
    "release": "1.0.0",
    "host": "worker-5d8c7",
    "pid": 1,
    "runs": 12,
    "started_at": 1795950000.25,
    "heartbeat_at": 1795959330.5,
    "heartbeat_age_s": 4.2,
}
_USAGE: Mapping[str, Any] = {
    "object": "admin.usage",
    "day": "2026-11-30",
    "workflow": None,
    "principal": None,
    "runs": 1200,
    "failed": 7,
    "input_tokens": 841000,
    "output_tokens": 52000,
    "cached_tokens": 310000,
    "cost_usd": 3.71,
}
ADMIN_EXAMPLES: Mapping[type[msgspec.Struct], Mapping[str, Any]] = {
    runs.AdminRunList: listed(RUN, next=None),
    keys.AdminKeyList: listed(_KEY),
    keys.AdminKeySecret: {**_KEY, **_SECRET},
    keys.AdminKeyRevoked: {"id": _KEY["id"], "object": "admin.key.deleted", "deleted": True},
    keys.CreateKey: {"name": "site", "principal": "ann", "expires_in": 7776000},
    keys.RotateKey: {"overlap": 86400},
    processes.AdminProcessList: listed(_PROCESS),
    usage.AdminUsageList: {"object": "list", "data": [_USAGE], "has_more": False},
    budgets.SetBudget: {"principal": "ann", "window": "day", "tokens": 2_000_000},
    budgets.AdminBudget: _BUDGET,
    budgets.AdminBudgetList: listed(_BUDGET),
}
