"""The operations of `/v1/admin`."""

from tools.openapi.operation import STRING, Json, Operation
from twelvefold.web.schemas.admin import keys, runs

ADMIN = "Not part of the OpenAI API. The key needs the scope `admin`."
LIST = ("limit", "after")


def query(name: str, schema: Json, description: str) -> Json:
    """Return an optional query parameter."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


TIME = {"type": "number", "minimum": 0, "maximum": 99999999999}
FILTERS = (
    query(
        "status",
        {
            "type": "string",
            "enum": [
                *("queued", "running", "waiting"),
                *("completed", "incomplete", "failed", "cancelled"),
            ],
        },
        "Only runs with this status.",
    ),
    query("workflow", STRING, "Only runs of this workflow."),
    query("principal", STRING, "Only runs of this principal."),
    query("since", TIME, "Only runs created at this time or later, in seconds since 1970."),
    query("until", TIME, "Only runs created before this time, in seconds since 1970."),
    query(
        "search",
        STRING,
        "The beginning of a run's or a conversation's id, or a part of the error of a failed run.",
    ),
)
ADMIN_OPERATIONS = (
    Operation(
        "get",
        "/v1/admin/runs",
        "listRuns",
        "List runs of all principals, newest first",
        runs.AdminRunList,
        parameters=(*FILTERS, *LIST),
        description=f"{ADMIN} A page examines a bounded number of runs: it may have fewer than "
        "`limit` although there are more. `next` continues it.",
    ),
    Operation(
        "get",
        "/v1/admin/keys",
        "listKeys",
        "List API keys of all principals, newest first",
        keys.AdminKeyList,
        parameters=LIST,
        description=ADMIN,
    ),
    Operation(
        "post",
        "/v1/admin/keys",
        "createKey",
        "Create an API key",
        keys.AdminKeySecret,
        errors=(400,),
        body=keys.CreateKey,
        description=f"{ADMIN} The answer alone has the secret.",
    ),
    Operation(
        "post",
        "/v1/admin/keys/{key_id}/rotate",
        "rotateKey",
        "Give an API key a new secret",
        keys.AdminKeySecret,
        errors=(404,),
        body=keys.RotateKey,
        body_required=False,
        parameters=("key_id",),
        description=f"{ADMIN} The answer alone has the new secret.",
    ),
    Operation(
        "delete",
        "/v1/admin/keys/{key_id}",
        "revokeKey",
        "Revoke an API key",
        keys.AdminKeyRevoked,
        errors=(404,),
        parameters=("key_id",),
        description=ADMIN,
    ),
)
