"""One operation of the API, and the parameters that several operations share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from twelvefold.web.schemas.types import RequestObject

Json = dict[str, Any]
BOOLEAN, STRING = {"type": "boolean"}, {"type": "string"}
PARAMETERS: Mapping[str, Json] = {
    "response_id": {"in": "path", "required": True, "schema": STRING},
    "conversation_id": {"in": "path", "required": True, "schema": STRING},
    "budget_id": {"in": "path", "required": True, "schema": STRING},
    "item_id": {"in": "path", "required": True, "schema": STRING},
    "key_id": {"in": "path", "required": True, "schema": STRING},
    "model": {"in": "path", "required": True, "schema": STRING},
    "run_id": {"in": "path", "required": True, "schema": STRING},
    "message_id": {"in": "path", "required": True, "schema": STRING},
    "limit": {
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    },
    "order": {
        "in": "query",
        "schema": {"type": "string", "enum": ["asc", "desc"], "default": "desc"},
    },
    "after": {
        "in": "query",
        "schema": STRING,
        "description": "The id of the last item of the page before.",
    },
    "include": {
        "in": "query",
        "schema": {"type": "array", "items": STRING},
        "description": "Accepted for compatibility; changes nothing.",
    },
    "Twelvefold-Tool-Items": {
        "in": "header",
        "schema": {"type": "string", "enum": ["mcp_call", "function", "hidden"]},
        "description": (
            "How to show the server's tool calls, in place of the setting TOOL_ITEMS. "
            "A response keeps the value that it was created with."
        ),
    },
    "Idempotency-Key": {
        "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        "description": (
            "The server carries out a request once, however often it arrives "
            "within 24 hours with the same key and body."
        ),
    },
}

AFTER_POSITION = {
    "name": "after",
    "in": "query",
    "schema": {"type": "integer", "minimum": 0},
    "description": "Only entries with a greater position.",
}
MAX_ENTRIES = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "default": 500},
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `parameters` are names in PARAMETERS, or parameters themselves."""

    method: str
    path: str
    id: str
    summary: str
    answer: type[msgspec.Struct]
    errors: Sequence[int] = ()
    body: type[RequestObject] | None = None
    parameters: Sequence[str | Json] = ()
    description: str = ""
    body_required: bool = True
    streams: bool = False
    public: bool = False
    media: str = "application/json"

    @property
    def tag(self) -> str:
        """The group that documents and generated clients have the operation in."""
        if self.public:
            return "probes"
        return self.path.split("/")[2]
