"""The operations of `/v1/admin`."""

from tools.openapi.operation import STRING, Json, Operation
from twelvefold.web.schemas.admin import runs

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
)
