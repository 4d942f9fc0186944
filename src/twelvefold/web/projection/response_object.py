"""The response object: what was asked, with the values that were in effect, and what came of it.

Source: Open Responses, which wants every field in every response, and the OpenAI Responses API.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from twelvefold.core.events import FinalStatus, Item, RequestOptions, Usage
from twelvefold.core.failures import failure_sentence
from twelvefold.web.ids import ResponseId, conversation_id
from twelvefold.web.projection.view import View
from twelvefold.web.schemas.types import Json

Status = Literal["queued", "in_progress"] | FinalStatus
_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a response is; times are microseconds since 1970."""

    status: Status = "in_progress"
    created_at_us: int = 0
    ended_at_us: int = 0
    reason: str = ""
    error: str = ""
    usage: Usage = field(default_factory=Usage)

    def ended(
        self, status: FinalStatus, at_us: int, *, reason: str = "", error: str = ""
    ) -> "Standing":
        """The same once it is over; `error` and `reason` as in `RunFinished`."""
        return replace(
            self,
            status=status,
            ended_at_us=at_us,
            reason=reason,
            error=failure_sentence(reason, error) if status == "failed" else "",
        )


def describe(id: ResponseId, view: View, standing: Standing, output: list[Json]) -> Json:
    """The object, as its endpoints and the events of its stream show it."""
    asked = view.started.options
    return {
        "id": str(id),
        "object": "response",
        **_course(standing),
        "model": view.label,
        "output": output,
        "background": view.background,
        "previous_response_id": _previous(id, asked),
        "conversation": {"id": conversation_id(id.run.thread)} if asked.conversation else None,
        **_asked(asked),
        **_sampling(asked),
        **_echo(asked.echo),
    }


def _course(standing: Standing) -> Json:
    """What came of it, and when."""
    status = standing.status
    over = status not in ("queued", "in_progress")
    return {
        "created_at": standing.created_at_us // _MICROSECONDS,
        "completed_at": standing.ended_at_us // _MICROSECONDS if status == "completed" else None,
        "status": status,
        "error": _error(standing.error) if standing.error else None,
        "incomplete_details": _incomplete(standing.reason) if status == "incomplete" else None,
        "usage": _usage(standing.usage) if over else None,
    }


def _error(message: str) -> Json:
    # The code is of a closed enumeration; `type` and `param` are what the AI SDK's parser wants.
    return {"code": "server_error", "message": message, "type": "server_error", "param": None}


def _incomplete(reason: str) -> Json:
    filtered = reason == "content_filter"
    return {"reason": "content_filter" if filtered else "max_output_tokens"}


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def _previous(id: ResponseId, asked: RequestOptions) -> str | None:
    if id.part and not asked.conversation:
        return str(ResponseId(id.run, id.part - 1))
    return asked.previous or None


def _asked(asked: RequestOptions) -> Json:
    """What was said beside the input."""
    return {
        "instructions": asked.instructions or None,
        "tools": [_tool(tool) for tool in asked.tools],
        "tool_choice": asked.tool_choice or "auto",
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "max_tool_calls": asked.max_tool_calls,
        "max_output_tokens": asked.max_output_tokens,
        "text": _text(asked.text or {}),
        "reasoning": {"effort": None, "summary": None} | (asked.reasoning or {}),
        "store": asked.store,
        "metadata": dict(asked.metadata),
    }


def _tool(tool: Item) -> Json:
    wanted = ("type", "name", "description", "parameters", "strict")
    return {key: tool.get(key) for key in wanted} | tool


def _text(text: Item) -> Json:
    form = text.get("format") or {"type": "text"}
    if form.get("type") == "json_schema":
        form = {"description": None, "strict": False} | form
    return text | {"format": form}


def _sampling(asked: RequestOptions) -> Json:
    return {
        "temperature": 1.0 if asked.temperature is None else asked.temperature,
        "top_p": 1.0 if asked.top_p is None else asked.top_p,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


def _echo(echo: Item) -> Json:
    """What changes nothing here and is said again."""
    return {
        "top_logprobs": echo.get("top_logprobs") or 0,
        "truncation": echo.get("truncation") or "disabled",
        "service_tier": echo.get("service_tier") or "default",
        "safety_identifier": echo.get("safety_identifier"),
        "prompt_cache_key": echo.get("prompt_cache_key"),
        "user": echo.get("user"),
    }
