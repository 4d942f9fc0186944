"""Types of the API that several requests or responses share."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from twelvefold.core import FinalStatus

Json = dict[str, Any]
ToolItems = Literal["mcp_call", "function", "hidden"]
ToolOutputs = Literal["full", "summary", "none"]
InputFiles = Literal["full", "summary", "none"]
ResponseStatus = Literal["queued", "in_progress"] | FinalStatus
ItemStatus = Literal["in_progress", "completed", "incomplete", "failed"]

# Python's `$` accepts a line break behind it.
END = r"(?![\s\S])"
_TOOL_NAME = rf"^[a-zA-Z0-9_-]{{1,64}}{END}"
# Proxies of Gemini put a thought signature of some thousand characters into their ids.
_CALL_ID = rf"^[\s\S]{{1,65536}}{END}"
FORMS = {
    _TOOL_NAME: "1 to 64 letters, digits, _ or -",
    _CALL_ID: "a string of 1 to 65536 characters",
}
"""The description of each pattern, for error messages."""

PASSED = Meta(description="Passed to the model.")
RETURNED = Meta(description="Returned in the response, without effect.")
UNUSED = Meta(description="Accepted, without effect.")
STREAM = Meta(description="Answer with server-sent events.")
TOOL_CHOICE = Meta(description="Applies to the server's tools, too.")
IMAGE_URL = Meta(
    description="http:// or https://, or a data URL with base64 of a PNG, JPEG, WebP or GIF."
)
FILE_DATA = Meta(
    description="A data URL with base64 of a PDF, text, Markdown, CSV or JSON; needs `filename`."
)
NO_FILES = Meta(description="Not supported: this server has no Files API.")

ModelName = Annotated[
    str,
    Meta(description="A workflow, or `workflow/model`, as `GET /v1/models` lists them."),
]
Id = Annotated[str, Meta(min_length=1)]
CallId = Annotated[str, Meta(pattern=_CALL_ID)]
ToolName = Annotated[str, Meta(pattern=_TOOL_NAME)]
Text64 = Annotated[str, Meta(max_length=64)]
Text512 = Annotated[str, Meta(max_length=512)]
Tokens = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(ge=0, le=1)]
Verbosity = Literal["low", "medium", "high"]
Metadata = Annotated[
    dict[Text64, Text512],
    Meta(max_length=16, description="Kept beside the object and returned with it."),
]
