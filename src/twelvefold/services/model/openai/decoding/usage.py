"""Token usage of a reply: read from any field in which servers report it, otherwise estimated.

The estimate is one token per three bytes of UTF-8 of the request and of the reply. English text
has about four bytes per token, so that the estimate is high rather than low.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from twelvefold.core import IMAGE_TOKENS, Usage

BYTES_PER_TOKEN = 3
_IMAGE_DATA_URL = re.compile(rb'"data:[^"]{256,}"')

_INPUT_FIELDS = (
    *("prompt_tokens", "input_tokens", "promptTokenCount", "prompt_token_count", "inputTokens"),
    *("prompt_eval_count", "prompt_n", "inputTokenCount"),
)
_OUTPUT_FIELDS = (
    *("completion_tokens", "output_tokens", "candidatesTokenCount", "candidates_token_count"),
    *("outputTokens", "eval_count", "predicted_n", "outputTokenCount", "generated_tokens"),
)
_TOTAL_FIELDS = ("total_tokens", "totalTokenCount", "total_token_count", "totalTokens")
_CACHED_FIELDS = (
    *("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"),
    *("cachedContentTokenCount", "cache_n"),
)
_REASONING_FIELDS = ("reasoning_tokens", "thoughtsTokenCount", "thinking_tokens")
_INPUT_DETAIL_FIELDS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAIL_FIELDS = ("completion_tokens_details", "output_tokens_details")
_ENCLOSING_FIELDS = ("x_groq", "usageMetadata", "usage_metadata", "timings", "meta", "metadata")
"""Fields of servers without a `usage` field: each is a usage object or contains one."""


class UsageReader:
    """Collects the usage that a server reports in one reply; keeps the maximum of each field.

    Servers send growing values with every chunk, and some end with zeros or null.
    """

    def __init__(self) -> None:
        self.usage = Usage()

    def read(self, sent: object) -> None:
        """Read a `usage` object; anything else is ignored."""
        if isinstance(sent, Mapping) and sent:
            self.usage = _largest(self.usage, _parse_usage(sent))

    def read_enclosing(self, sent: Mapping[str, Any]) -> None:
        """Read the usage from the fields of an object."""
        self.read(sent.get("usage"))
        for name in _ENCLOSING_FIELDS:
            found = sent.get(name)
            if isinstance(found, Mapping):
                self.read(found.get("usage") or found)


def with_estimates(usage: Usage, request: bytes, received_bytes: int) -> Usage:
    """Return the usage with an estimate for each value that the server did not report.

    `received_bytes` is the length of the reply: its text, calls and reasoning.
    """
    needs_input = usage.input_tokens == 0
    needs_output = usage.output_tokens == 0 and received_bytes > 0
    if not (needs_input or needs_output):
        return usage
    return Usage(
        input_tokens=_request_tokens(request) if needs_input else usage.input_tokens,
        output_tokens=_tokens(received_bytes) if needs_output else usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        estimated=True,
    )


def _request_tokens(request: bytes) -> int:
    images = _IMAGE_DATA_URL.findall(request)
    return _tokens(len(request) - sum(map(len, images))) + IMAGE_TOKENS * len(images)


def _tokens(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)


def _largest(one: Usage, other: Usage) -> Usage:
    return Usage(
        max(one.input_tokens, other.input_tokens),
        max(one.output_tokens, other.output_tokens),
        max(one.cached_tokens, other.cached_tokens),
        max(one.reasoning_tokens, other.reasoning_tokens),
    )


def _parse_usage(sent: Mapping[str, Any]) -> Usage:
    read, written, total = (
        _count(sent, *names) for names in (_INPUT_FIELDS, _OUTPUT_FIELDS, _TOTAL_FIELDS)
    )
    if not (read or written):
        # Only a total: its distribution is unknown.
        read = total
    # llama.cpp: `prompt_n` does not include the cached tokens.
    read += _count(sent, "cache_n") if "prompt_n" in sent else 0
    # Some servers include reasoning in the total only.
    written = max(written, total - read)
    return Usage(
        input_tokens=read,
        output_tokens=written,
        cached_tokens=max(
            _count(part, *_CACHED_FIELDS) for part in _usage_and_details(sent, _INPUT_DETAIL_FIELDS)
        ),
        reasoning_tokens=max(
            _count(part, *_REASONING_FIELDS)
            for part in _usage_and_details(sent, _OUTPUT_DETAIL_FIELDS)
        ),
    )


def _usage_and_details(
    sent: Mapping[str, Any], details: tuple[str, ...]
) -> Iterator[Mapping[str, Any]]:
    yield sent
    for name in details:
        if isinstance(found := sent.get(name), Mapping):
            yield found


def _count(sent: Mapping[str, Any], *names: str) -> int:
    """Return the value of the first of these fields that has a number of tokens, otherwise 0."""
    for name in names:
        # Most names are those of other servers.
        if (value := sent.get(name)) is not None and (count := _token_count(value)):
            return count
    return 0


def _token_count(value: Any) -> int:
    """Parse a number of tokens: servers send integers, floats or text. Invalid values are 0."""
    if type(value) is int:
        return max(value, 0)
    if isinstance(value, bool):
        return 0
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0
    if not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    return max(math.ceil(value), 0)
