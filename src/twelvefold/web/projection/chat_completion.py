"""A response as a chat completion, whole or in chunks. Pure.

Source: the `chat.completion` and `chat.completion.chunk` objects of the OpenAI API.
"""

from collections.abc import Iterator, Sequence

from twelvefold.web.http.errors import ApiError
from twelvefold.web.projection.stop_sequences import StopFilter, stopped_text
from twelvefold.web.schemas.types import Json

BETWEEN = "\n\n"
"""Between two messages of one turn, which are one text here."""
NO_APPROVAL = (
    "This needs a person's approval of {name}, which Chat Completions cannot carry; "
    "use the Responses API."
)
_FINISHED = {"max_output_tokens": "length", "content_filter": "content_filter"}


def error_of(response: Json) -> str:
    """Why there is no answer; "" where there is one."""
    status = response["status"]
    if status in ("completed", "incomplete"):
        return ""
    if status in ("queued", "in_progress"):
        return "this server cannot follow the turn to its end"
    return str((response["error"] or {}).get("message") or f"the run was {status}")


def tool_to_approve(response: Json) -> str:
    """The tool that waits for approval; "" if none does."""
    asked = (item for item in response["output"] if item["type"] == "mcp_approval_request")
    return next((str(item["name"]) for item in asked), "")


# --- whole ----------------------------------------------------------------------------------------


def completion(response: Json, stop: Sequence[str] = ()) -> Json:
    """The whole answer, up to the first of the caller's stop sequences."""
    said, stopped = _said(response, stop)
    refused = _texts(response, "refusal")
    calls = [] if stopped else _calls(response)
    message: Json = {
        "role": "assistant",
        "content": BETWEEN.join(said) if said or not (refused or calls) else None,
        "refusal": BETWEEN.join(refused) or None,
        "annotations": [],
    }
    if calls:
        message["tool_calls"] = calls
    finish = "stop" if stopped else _finish(response)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    about = _about(response, "chat.completion")
    return about | {"choices": [choice], "usage": _usage(response)}


def _said(response: Json, stop: Sequence[str]) -> tuple[list[str], bool]:
    said: list[str] = []
    for text in _texts(response, "text"):
        kept, stopped = stopped_text(text, stop)
        said += [kept] if kept else []
        if stopped:
            return said, True
    if name := tool_to_approve(response):
        said.append(NO_APPROVAL.format(name=name))
    return said, False


def _texts(response: Json, key: str) -> list[str]:
    """What was said, message by message; a draft that was given up was not."""
    whole = response["status"] == "completed"
    messages = (item for item in response["output"] if item["type"] == "message")
    texts = (
        "".join(part.get(key) or "" for part in item["content"])
        for item in messages
        if item["status"] == "completed" or (not whole and item is response["output"][-1])
    )
    return [text for text in texts if text]


def _calls(response: Json) -> list[Json]:
    """The calls that are the caller's to run."""
    return [
        {"id": item["call_id"], "type": "function", "function": _function(item, item["arguments"])}
        for item in response["output"]
        if item["type"] == "function_call"
    ]


def _function(item: Json, arguments: str) -> Json:
    return {"name": item["name"], "arguments": arguments}


def _about(response: Json, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{response['id'].removeprefix('resp_')}",
        "object": kind,
        "created": response["created_at"],
        "model": response["model"],
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _finish(response: Json) -> str:
    if details := response["incomplete_details"]:
        return _FINISHED[details["reason"]]
    return "tool_calls" if _calls(response) else "stop"


def _usage(response: Json) -> Json:
    usage = response["usage"]
    cached = usage["input_tokens_details"]["cached_tokens"]
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            **usage["output_tokens_details"],
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


# --- in chunks ------------------------------------------------------------------------------------


class Chunks:
    """The chunks of one completion; `with_usage`: each has the member that the last one fills."""

    def __init__(self, response: Json, stop: Sequence[str] = (), *, with_usage: bool) -> None:
        self._about = _about(response, "chat.completion.chunk")
        self._stop = stop
        self._with_usage = with_usage
        self._text = StopFilter(stop)
        self._spoke = False
        self._begins = False
        self._calls: dict[int, int] = {}

    def of(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self._with_usage else {}
        return self._about | {"choices": [choice]} | usage

    def deltas(self, event: Json) -> Iterator[Json]:
        """What an event of the response adds to the completion."""
        if self._text.stopped:
            return
        match event["type"]:
            case "response.output_item.added":
                yield from self._begin(event["output_index"], event["item"])
            case "response.output_text.delta":
                yield from self._content("content", self._text.add(event["delta"]))
            case "response.refusal.delta":
                yield from self._content("refusal", event["delta"])
            case "response.output_item.done":
                yield from self._content("content", self._text.end())
            case "response.function_call_arguments.delta":
                yield self._call(event["output_index"], {"arguments": event["delta"]})
            case _:
                pass

    def _begin(self, index: int, item: Json) -> Iterator[Json]:
        if item["type"] == "message":
            # A stop sequence is of one message's text: what stands between two is ours.
            self._text, self._begins = StopFilter(self._stop), self._spoke
        elif item["type"] == "function_call":
            self._calls[index] = len(self._calls)
            about = {"id": item["call_id"], "type": "function"}
            yield self._call(index, _function(item, ""), **about)

    def _content(self, key: str, text: str) -> Iterator[Json]:
        if text:
            if self._begins:
                yield {"content": BETWEEN}
            self._begins, self._spoke = False, True
            yield {key: text}

    def _call(self, index: int, function: Json, **about: str) -> Json:
        return {"tool_calls": [{"index": self._calls[index], **about, "function": function}]}

    def last(self, response: Json) -> Iterator[Json]:
        """What stands at the end of the stream."""
        if error := error_of(response):
            yield ApiError(500, error, code="server_error").body
            return
        stopped = self._text.stopped
        name = tool_to_approve(response)
        if name and not stopped:
            between = BETWEEN if self._spoke else ""
            yield self.of({"content": between + NO_APPROVAL.format(name=name)})
        yield self.of({}, "stop" if stopped else _finish(response))
        if self._with_usage:
            yield self._about | {"choices": [], "usage": _usage(response)}
