"""The operations of `/v1/admin`."""

from tools.openapi.operation import STRING, Json, Operation
from twelvefold.web.schemas import objects
from twelvefold.web.schemas.admin import budgets, keys, processes, runs, usage

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
DAY = {"type": "string", "format": "date", "example": "2026-11-30"}
USAGE = (
    query("from", DAY, "The first day, in UTC; by default 30 days with the last one."),
    query("to", DAY, "The last day, in UTC; today by default. At most 366 days."),
    query(
        "by",
        {
            "type": "string",
            "enum": ["day", "workflow", "principal", "day,workflow", "day,principal"],
        },
        "What the sums are by; `day` by default.",
    ),
    query("workflow", STRING, "Only runs of this workflow."),
    query("principal", STRING, "Only runs of this principal."),
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
    Operation(
        "get",
        "/v1/admin/workers",
        "listWorkers",
        "List web processes and workers, the last to start first",
        processes.AdminProcessList,
        description=f"{ADMIN} Each process sends a heartbeat every ten seconds.",
    ),
    Operation(
        "get",
        "/v1/admin/usage",
        "listUsage",
        "Sum the usage of runs that ended, by day, workflow and principal",
        usage.AdminUsageList,
        parameters=USAGE,
        description=f"{ADMIN} Workers add a run about ten seconds after its end, to the day in UTC "
        "on which it ended. Returns at most 1,000 sums.",
    ),
    Operation(
        "get",
        "/v1/admin/budgets",
        "listBudgets",
        "List budgets with what was spent, by scope",
        budgets.AdminBudgetList,
        parameters=LIST,
        description=ADMIN,
    ),
    Operation(
        "put",
        "/v1/admin/budgets",
        "setBudget",
        "Set a budget, in place of that of the same scope and window",
        budgets.AdminBudget,
        (404,),
        body=budgets.SetBudget,
        description=ADMIN,
    ),
    Operation(
        "delete",
        "/v1/admin/budgets/{budget_id}",
        "removeBudget",
        "Remove a budget",
        objects.Deleted,
        (404,),
        parameters=("budget_id",),
        description=f"{ADMIN} What was spent of it stays, for a budget that is set again.",
    ),
)
