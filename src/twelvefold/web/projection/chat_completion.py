"""A response as a chat completion, whole or in chunks.

Source: the `chat.completion` and `chat.completion.chunk` objects of the OpenAI API.
"""

from collections.abc import Iterator, Sequence

from twelvefold.web.http import INSUFFICIENT_QUOTA, ApiError, insufficient_quota
from twelvefold.web.projection.stop_sequences import StopFilter, cut_at_stop
from twelvefold.web.schemas import QUESTION, Json

SEPARATOR = "\n\n"
"""Between two messages of one turn, which are one text in a completion."""
NO_PERSON = (
    "This needs a person's {answer}, which Chat Completions cannot carry; use the Responses API."
)
_FINISH_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


def error_of(response: Json) -> str:
    """Return why the response has no answer; "" if it has one."""
    status = response["status"]
    if status in ("completed", "incomplete"):
        return ""
    if status in ("queued", "in_progress"):
        return "this server cannot follow the turn to its end"
    return str((response["error"] or {}).get("message") or f"the run was {status}")


def failure_of(response: Json) -> ApiError:
    """Return the error of a response that is over and has no answer."""
    message = error_of(response)
    if (response["error"] or {}).get("code") == INSUFFICIENT_QUOTA:
        return insufficient_quota(message)
    return ApiError(500, message, code="server_error", repeat=False)


def find_person_needed(response: Json) -> str:
    """Return that the run waits for a person, as a text of the answer; "" if it does not."""
    for item in response["output"]:
        if item["type"] == "mcp_approval_request":
            return NO_PERSON.format(answer=f"approval of {item['name']}")
        if _is_question(item):
            return NO_PERSON.format(answer=f"answer to {item['name']}")
    return ""


def _is_question(item: Json) -> bool:
    return item["type"] == "function_call" and str(item["call_id"]).startswith(QUESTION)


# --- whole ----------------------------------------------------------------------------------------


def completion(response: Json, stop: Sequence[str] = ()) -> Json:
    """Return the whole completion, up to the first stop sequence."""
    texts, stopped = _message_texts(response, stop)
    refusals = _texts(response, "refusal")
    calls = [] if stopped else _calls(response)
    message: Json = {
        "role": "assistant",
        "content": SEPARATOR.join(texts) if texts or not (refusals or calls) else None,
        "refusal": SEPARATOR.join(refusals) or None,
        "annotations": [],
    }
    if calls:
        message["tool_calls"] = calls
    finish = "stop" if stopped else _finish_reason(response)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return _head(response, "chat.completion") | {"choices": [choice], "usage": _usage(response)}


def _message_texts(response: Json, stop: Sequence[str]) -> tuple[list[str], bool]:
    """Return the text of each message, and whether a stop sequence ended the last one."""
    texts: list[str] = []
    for text in _texts(response, "text"):
        text, stopped = cut_at_stop(text, stop)
        texts += [text] if text else []
        if stopped:
            return texts, True
    if needed := find_person_needed(response):
        texts.append(needed)
    return texts, False


def _texts(response: Json, key: str) -> list[str]:
    """Return the text of each message that is not an abandoned draft."""
    is_completed = response["status"] == "completed"
    messages = (item for item in response["output"] if item["type"] == "message")
    texts = (
        "".join(part.get(key) or "" for part in item["content"])
        for item in messages
        if item["status"] == "completed" or (not is_completed and item is response["output"][-1])
    )
    return [text for text in texts if text]


def _calls(response: Json) -> list[Json]:
    """Return the calls that the client has to run."""
    return [
        {"id": item["call_id"], "type": "function", "function": _function(item, item["arguments"])}
        for item in response["output"]
        if item["type"] == "function_call" and not _is_question(item)
    ]


def _function(item: Json, arguments: str) -> Json:
    return {"name": item["name"], "arguments": arguments}


def _head(response: Json, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{response['id'].removeprefix('resp_')}",
        "object": kind,
        "created": response["created_at"],
        "model": response["model"],
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _finish_reason(response: Json) -> str:
    if details := response["incomplete_details"]:
        return _FINISH_REASONS[details["reason"]]
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
    """The chunks of one completion; `with_usage`: each has `usage`, null in all but the last."""

    def __init__(self, response: Json, stop: Sequence[str] = (), *, with_usage: bool) -> None:
        self._head = _head(response, "chat.completion.chunk")
        self._stop = stop
        self._with_usage = with_usage
        self._text = StopFilter(stop)
        self._has_text = False
        self._is_new_message = False
        self._calls: dict[int, int] = {}

    def chunk(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self._with_usage else {}
        return self._head | {"choices": [choice]} | usage

    def deltas(self, event: Json) -> Iterator[Json]:
        """Yield the deltas that an event of the response adds to the completion."""
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
            case "response.function_call_arguments.delta" if event["output_index"] in self._calls:
                yield self._call(event["output_index"], {"arguments": event["delta"]})
            case _:
                pass

    def _begin(self, index: int, item: Json) -> Iterator[Json]:
        if item["type"] == "message":
            # Stop sequences apply to each message: the separator is not the model's text.
            self._text, self._is_new_message = StopFilter(self._stop), self._has_text
        elif item["type"] == "function_call" and not _is_question(item):
            self._calls[index] = len(self._calls)
            fields = {"id": item["call_id"], "type": "function"}
            yield self._call(index, _function(item, ""), **fields)

    def _content(self, key: str, text: str) -> Iterator[Json]:
        if text:
            if self._is_new_message:
                yield {"content": SEPARATOR}
            self._is_new_message, self._has_text = False, True
            yield {key: text}

    def _call(self, index: int, function: Json, **fields: str) -> Json:
        return {"tool_calls": [{"index": self._calls[index], **fields, "function": function}]}

    def last(self, response: Json) -> Iterator[Json]:
        """Yield the last chunks of the stream."""
        if error_of(response):
            yield failure_of(response).body
            return
        stopped = self._text.stopped
        needed = find_person_needed(response)
        if needed and not stopped:
            separator = SEPARATOR if self._has_text else ""
            yield self.chunk({"content": separator + needed})
        yield self.chunk({}, "stop" if stopped else _finish_reason(response))
        if self._with_usage:
            yield self._head | {"choices": [], "usage": _usage(response)}
