"""The operations of `/v1/admin` on one run, on what waits for a person, and on the outbox."""

from tools.openapi.admin_operations import ADMIN, LIST, query
from tools.openapi.operation import AFTER_POSITION, MAX_ENTRIES, STRING, Operation
from twelvefold.web.schemas import objects
from twelvefold.web.schemas.admin import outbox, runs
from twelvefold.web.schemas.answers import AnswerQuestion

STATE = query(
    "state",
    {"type": "string", "enum": ["due", "failed", "dead", "sent"], "default": "due"},
    "`failed`: an attempt failed and another one follows; `dead`: none does.",
)
RUN = "/v1/admin/runs/{run_id}"
NOT_PENDING = "If no such call waits: 400 `approval_not_pending`."
RETRY = (
    "The new run follows in the same conversation, for the same principal, so the model reads "
    "what the run has done. A run that has completed, or is not the last one of its "
    "conversation, is 409."
)
INBOX_FILTERS = (
    query("workflow", STRING, "Only runs of this workflow."),
    query("principal", STRING, "Only runs of this principal."),
)
OPERATOR_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "get",
        RUN,
        "getRun",
        "Read a run: what it did, why it failed, what it waits for",
        runs.AdminRunDetail,
        (404,),
        description=ADMIN,
    ),
    Operation(
        "get",
        f"{RUN}/journal",
        "getRunJournal",
        "Read the journal of a run",
        objects.Journal,
        (404,),
        parameters=(AFTER_POSITION, MAX_ENTRIES),
        description=ADMIN,
    ),
    Operation(
        "get",
        f"{RUN}/export",
        "exportRun",
        "Export a run's whole conversation, and the runs below",
        runs.ExportedEntry,
        (404,),
        description=f"{ADMIN} One JSON object in each line, as `twelvefold runs export` prints it.",
        media="application/x-ndjson",
    ),
    Operation(
        "post",
        f"{RUN}/retry",
        "retryRun",
        "Run the input of a run again that did not complete",
        runs.AdminAction,
        (404, 409),
        description=f"{ADMIN} {RETRY}",
    ),
    Operation(
        "post",
        f"{RUN}/cancel",
        "cancelRun",
        "Cancel a run",
        runs.AdminAction,
        (404, 409),
        description=ADMIN,
    ),
    Operation(
        "post",
        f"{RUN}/resume",
        "resumeRun",
        "Approve or deny a call of a run",
        runs.AdminAction,
        (404, 409),
        runs.ResumeRun,
        description=f"{ADMIN} {NOT_PENDING}",
    ),
    Operation(
        "post",
        f"{RUN}/settle",
        "settleRun",
        "Settle a call whose outcome is unknown",
        runs.AdminAction,
        (404, 409),
        runs.SettleRun,
        description=f"{ADMIN} {NOT_PENDING}",
    ),
    Operation(
        "post",
        f"{RUN}/fork",
        "forkRun",
        "Create a conversation that continues from an entry of a run",
        runs.AdminAction,
        (404, 409),
        runs.ForkRun,
        description=f"{ADMIN} It belongs to the principal of the run.",
        body_required=False,
    ),
    Operation(
        "get",
        "/v1/admin/inbox",
        "listOpenCalls",
        "List what waits for a person, of all principals, newest runs first",
        runs.OpenCallList,
        parameters=(*INBOX_FILTERS, *LIST),
        description=f"{ADMIN} `limit` counts runs, each of which may have several calls. A page "
        "examines a bounded number of runs; `next` continues it.",
    ),
    Operation(
        "post",
        "/v1/admin/inbox/answers",
        "answerOpenCall",
        "Answer an approval or a question of any principal",
        objects.GivenAnswer,
        (409,),
        AnswerQuestion,
        description=f"{ADMIN} `call_id` is the `id` of the inbox. `output` of a question is a "
        f"value of its type, that of an approval an object as for `resume`. {NOT_PENDING}",
    ),
    Operation(
        "get",
        "/v1/admin/outbox",
        "listMessages",
        "List messages of the outbox, the one with the latest attempt first",
        outbox.AdminMessageList,
        (),
        parameters=(STATE, *LIST),
        description=ADMIN,
    ),
    Operation(
        "post",
        "/v1/admin/outbox/{message_id}/retry",
        "retryMessage",
        "Make a message due now",
        outbox.AdminMessage,
        (404, 409),
        description=ADMIN,
    ),
)
