"""The options of a run that an answer to an approval changes.

An option that the answer leaves out keeps the run's value. A given option is a change even if its
value is the default or null, and needs the scope `runs` in addition to `approve`.
"""

from msgspec import structs

from twelvefold.core import RequestOptions
from twelvefold.web.schemas.turns import TurnRequest, check_choice

UNCHANGING = frozenset(
    {
        *("model", "input", "previous_response_id", "conversation", "store"),
        *("stream", "stream_options", "background", "include"),
    }
)
"""Parameters that locate the run and choose how to deliver its response."""
_OPTIONS = (
    *("instructions", "tools", "tool_choice", "parallel_tool_calls", "max_tool_calls"),
    *("max_output_tokens", "temperature", "top_p", "text", "reasoning", "metadata"),
)


def changed_options(request: TurnRequest) -> frozenset[str]:
    """Return the options that a request gives, by their names in its body."""
    return request.given - UNCHANGING


def merge_options(run: RequestOptions, request: TurnRequest) -> RequestOptions:
    """Return the run's options, replaced by those that the answer gives.

    `store`, `conversation` and `stop` remain the run's. Raises ApiError if `tool_choice` names a
    tool that is not in `tools`.
    """
    options, given = request.options, request.given
    changed = {name: getattr(options, name) for name in _OPTIONS if name in given}
    echo = {name: value for name, value in run.echo.items() if name not in given}
    merged = structs.replace(
        run,
        **changed,
        echo=echo | options.echo,
        choice_holds=run.choice_holds and "tool_choice" not in given,
        tool_items=options.tool_items or run.tool_items,
        stream=options.stream,
        previous=options.previous,
        # An answer must not reset the count of a cycle of instances.
        hops=max(run.hops, options.hops),
    )
    if {"tools", "tool_choice"} & given:
        check_choice(merged.tool_choice, merged.tools, request.workflow)
    return merged
