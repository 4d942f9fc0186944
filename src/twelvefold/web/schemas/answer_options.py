"""Which options of a run an answer to an approval changes: those that it gives, and no others.

An option that the answer leaves out keeps the run's value. One that it gives counts as a change
even where its value is the default or null, and needs the scope `runs` beside `approve`.
"""

from msgspec import structs

from twelvefold.core.events import RequestOptions
from twelvefold.web.schemas.responses import Request, check_choice

UNCHANGING = frozenset(
    {
        *("model", "input", "previous_response_id", "conversation", "store"),
        *("stream", "stream_options", "background", "include"),
    }
)
"""Parameters that say where an answer belongs and how its response is delivered."""
_OPTIONS = (
    *("instructions", "tools", "tool_choice", "parallel_tool_calls", "max_tool_calls"),
    *("max_output_tokens", "temperature", "top_p", "text", "reasoning", "metadata"),
)


def changed_options(request: Request) -> frozenset[str]:
    """The options that a request gives, by their names in its body."""
    return request.given - UNCHANGING


def merge_options(run: RequestOptions, request: Request) -> RequestOptions:
    """The run's options with those that the answer gives in their place.

    `store`, `conversation` and `stop` stay the run's. Raises ApiError if the choice of a tool and
    the tools do not fit.
    """
    asked, given = request.options, request.given
    changed = {name: getattr(asked, name) for name in _OPTIONS if name in given}
    kept_echo = {name: value for name, value in run.echo.items() if name not in given}
    merged = structs.replace(
        run,
        **changed,
        echo=kept_echo | asked.echo,
        choice_holds=run.choice_holds and "tool_choice" not in given,
        tool_items=asked.tool_items or run.tool_items,
        stream=asked.stream,
        previous=asked.previous,
        # A cycle of instances must not end its count with an answer.
        hops=max(run.hops, asked.hops),
    )
    if {"tools", "tool_choice"} & given:
        check_choice(merged.tool_choice, merged.tools, request.workflow)
    return merged
