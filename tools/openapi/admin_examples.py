"""An example of each body and each answer of `/v1/admin`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from twelvefold.web.schemas.admin import keys, runs

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

ADMIN_EXAMPLES: Mapping[type[msgspec.Struct], Mapping[str, Any]] = {
    runs.AdminRunList: listed(RUN, next=None),
    keys.AdminKeyList: listed(_KEY),
    keys.AdminKeySecret: {**_KEY, **_SECRET},
    keys.AdminKeyRevoked: {"id": _KEY["id"], "object": "admin.key.deleted", "deleted": True},
    keys.CreateKey: {"name": "site", "principal": "ann", "expires_in": 7776000},
    keys.RotateKey: {"overlap": 86400},
}
