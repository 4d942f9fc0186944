"""The operations of the API: paths, parameters, bodies and answers."""

from tools.openapi.admin_operations import ADMIN_OPERATIONS
from tools.openapi.operation import AFTER_POSITION, BOOLEAN, MAX_ENTRIES, Operation
from tools.openapi.operator_operations import OPERATOR_OPERATIONS
from twelvefold.web.schemas import objects
from twelvefold.web.schemas.answers import AnswerQuestion
from twelvefold.web.schemas.chat_completions import CreateChatCompletion
from twelvefold.web.schemas.conversations import (
    CreateConversation,
    CreateItems,
    ForkConversation,
    UpdateConversation,
)
from twelvefold.web.schemas.responses import CreateResponse
from twelvefold.web.schemas.signals import SendSignal

OWN = "Not part of the OpenAI API; the page uses it."
ANSWERS = (
    "Not part of the OpenAI API. Answers the question of `Ask`, also if it asks another principal "
    "than the one of the run; that principal sees nothing else of the run. The key needs the scope "
    "`approve`. One answer counts; a later one is 400 `approval_not_pending`."
)
QUESTIONS = (
    "Not part of the OpenAI API. The questions of `Ask` that wait for the caller's principal, "
    "newest first, also those of runs of other principals; nothing else of these runs is shown. "
    "`after` may be a question that was answered since."
)
SIGNALS = (
    "Not part of the OpenAI API. It reaches the runs of the key's own principal and needs the "
    "scope `signal`. The first delivery of a key counts; `first` is false for a later "
    "one, which changes nothing."
)
STREAM = {"name": "stream", "in": "query", "schema": BOOLEAN}
OBFUSCATION = {"name": "include_obfuscation", "in": "query", "schema": BOOLEAN}
STARTING_AFTER = {
    "name": "starting_after",
    "in": "query",
    "schema": {"type": "integer", "minimum": -1},
    "description": "Only events with a greater sequence number.",
}
FORCE = {
    "name": "force",
    "in": "query",
    "schema": BOOLEAN,
    "description": "Also one that is not in the background.",
}
PAGE = ("limit", "order", "after")


RESPONSE = "/v1/responses/{response_id}"
CONVERSATION = "/v1/conversations/{conversation_id}"
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "post",
        "/v1/responses",
        "createResponse",
        "Run a turn of a workflow",
        objects.Response,
        (404, 409, 422),
        CreateResponse,
        ("Idempotency-Key", "Twelvefold-Tool-Items"),
        "With `stream` the answer is a stream of server-sent events that ends with `data: [DONE]`. "
        "With `background` the answer comes immediately, and the run goes on.",
        streams=True,
    ),
    Operation(
        "get",
        RESPONSE,
        "getResponse",
        "Read a response, or follow it",
        objects.Response,
        (404,),
        parameters=(
            "Twelvefold-Tool-Items",
            "include",
            STREAM,
            STARTING_AFTER,
            OBFUSCATION,
        ),
        streams=True,
    ),
    Operation(
        "delete", RESPONSE, "deleteResponse", "Delete a response", objects.Deleted, (404, 409)
    ),
    Operation(
        "post",
        f"{RESPONSE}/cancel",
        "cancelResponse",
        "Cancel a background response",
        objects.Response,
        (404, 409),
        parameters=(FORCE,),
    ),
    Operation(
        "get",
        f"{RESPONSE}/input_items",
        "listInputItems",
        "List the input of a response",
        objects.ItemList,
        (404,),
        parameters=(*PAGE, "include"),
    ),
    Operation(
        "get",
        "/v1/conversations",
        "listConversations",
        "List conversations",
        objects.ConversationList,
        (404,),
        parameters=PAGE,
        description=OWN,
    ),
    Operation(
        "post",
        "/v1/conversations",
        "createConversation",
        "Create a conversation",
        objects.Conversation,
        (404,),
        CreateConversation,
        body_required=False,
    ),
    Operation(
        "get",
        CONVERSATION,
        "getConversation",
        "Read a conversation",
        objects.ConversationSummary,
        (404,),
    ),
    Operation(
        "post",
        CONVERSATION,
        "updateConversation",
        "Replace a conversation's metadata",
        objects.Conversation,
        (404, 409),
        UpdateConversation,
    ),
    Operation(
        "delete",
        CONVERSATION,
        "deleteConversation",
        "Delete a conversation",
        objects.Deleted,
        (404, 409),
    ),
    Operation(
        "get",
        f"{CONVERSATION}/items",
        "listItems",
        "List a conversation's items",
        objects.ItemList,
        (404,),
        parameters=("Twelvefold-Tool-Items", *PAGE, "include"),
    ),
    Operation(
        "post",
        f"{CONVERSATION}/items",
        "createItems",
        "Add items to a conversation",
        objects.ItemList,
        (404, 409),
        CreateItems,
        ("include",),
    ),
    Operation(
        "get",
        f"{CONVERSATION}/items/{{item_id}}",
        "getItem",
        "Read an item",
        objects.Item,
        (404,),
        parameters=("Twelvefold-Tool-Items", "include"),
    ),
    Operation(
        "delete",
        f"{CONVERSATION}/items/{{item_id}}",
        "deleteItem",
        "Remove an item",
        objects.Conversation,
        (404, 409),
    ),
    Operation(
        "get",
        f"{CONVERSATION}/journal",
        "getJournal",
        "Read a conversation's journal",
        objects.Journal,
        (404,),
        parameters=(AFTER_POSITION, MAX_ENTRIES),
        description=OWN,
    ),
    Operation(
        "post",
        f"{CONVERSATION}/fork",
        "forkConversation",
        "Create a conversation that continues from an earlier entry",
        objects.ConversationSummary,
        (404, 409),
        ForkConversation,
        description=OWN,
    ),
    Operation(
        "post",
        f"{CONVERSATION}/cancel",
        "cancelConversation",
        "Cancel a conversation's run",
        objects.ConversationSummary,
        (404, 409),
        description=OWN,
    ),
    Operation(
        "post",
        "/v1/signals",
        "sendSignal",
        "Send an event to runs that wait for it",
        objects.SentSignal,
        (),
        SendSignal,
        description=SIGNALS,
    ),
    Operation(
        "get",
        "/v1/questions",
        "listQuestions",
        "List the questions that wait for the caller",
        objects.QuestionList,
        parameters=PAGE,
        description=QUESTIONS,
    ),
    Operation(
        "post",
        "/v1/answers",
        "answerQuestion",
        "Answer a question that a tool asks the caller",
        objects.GivenAnswer,
        (409,),
        AnswerQuestion,
        description=ANSWERS,
    ),
    Operation("get", "/v1/models", "listModels", "List the workflows", objects.ModelList),
    Operation("get", "/v1/models/{model}", "getModel", "Read a workflow", objects.Model, (404,)),
    Operation(
        "post",
        "/v1/chat/completions",
        "createChatCompletion",
        "Run a turn of a workflow without keeping it",
        objects.ChatCompletion,
        (404, 409, 422),
        CreateChatCompletion,
        ("Idempotency-Key",),
        streams=True,
    ),
    Operation(
        "get", "/healthz", "healthz", "Whether the process answers", objects.Health, public=True
    ),
    Operation(
        "get",
        "/readyz",
        "readyz",
        "Whether the process is ready for requests",
        objects.Readiness,
        public=True,
    ),
    Operation("get", "/version", "version", "The running release", objects.Version, public=True),
    *ADMIN_OPERATIONS,
    *OPERATOR_OPERATIONS,
)
