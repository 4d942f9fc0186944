"""How many tokens a reply took: read wherever a server reports it, else estimated.

The estimate is one token for three bytes of UTF-8, of the request as it was sent and of the reply
as it was received. English has four bytes a token, so that a budget is held early, not late.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from twelvefold.core.events import Usage

BYTES_PER_TOKEN = 3
_IMAGE_TOKENS = 1_500
"""About what a large image takes; its base64 says nothing about that."""
_IMAGE = re.compile(rb'"data:[^"]{256,}"')

_INPUT = (
    *("prompt_tokens", "input_tokens", "promptTokenCount", "prompt_token_count", "inputTokens"),
    *("prompt_eval_count", "prompt_n", "inputTokenCount"),
)
_OUTPUT = (
    *("completion_tokens", "output_tokens", "candidatesTokenCount", "candidates_token_count"),
    *("outputTokens", "eval_count", "predicted_n", "outputTokenCount", "generated_tokens"),
)
_TOTAL = ("total_tokens", "totalTokenCount", "total_token_count", "totalTokens")
_CACHED = (
    *("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"),
    *("cachedContentTokenCount", "cache_n"),
)
_REASONING = ("reasoning_tokens", "thoughtsTokenCount", "thinking_tokens")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")
_ELSEWHERE = ("x_groq", "usageMetadata", "usage_metadata", "timings", "meta", "metadata")
"""Where servers put it that have no `usage` of their own; either it is in there, or it is that."""


class UsageReader:
    """Collects what a server reports in one reply; the largest value of each field counts.

    Servers repeat it with every chunk as it grows, and some end with zeros or null.
    """

    def __init__(self) -> None:
        self.usage = Usage()

    def read(self, sent: object) -> None:
        """Take a `usage` object, or whatever stands in its place."""
        if isinstance(sent, Mapping) and sent:
            self.usage = _largest(self.usage, _usage(sent))

    def read_around(self, sent: Mapping[str, Any]) -> None:
        """Take it out of an object that has it in a field of its own."""
        self.read(sent.get("usage"))
        for name in _ELSEWHERE:
            found = sent.get(name)
            if isinstance(found, Mapping):
                self.read(found.get("usage") or found)


def estimated(usage: Usage, request: bytes, received: int) -> Usage:
    """The usage with an estimate for what the server has not reported.

    `received` is the length of the reply in bytes: its text, its calls and its reasoning.
    """
    needs_input = usage.input_tokens == 0
    needs_output = usage.output_tokens == 0 and received > 0
    if not (needs_input or needs_output):
        return usage
    return Usage(
        input_tokens=_request_tokens(request) if needs_input else usage.input_tokens,
        output_tokens=_tokens(received) if needs_output else usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        estimated=True,
    )


def _request_tokens(request: bytes) -> int:
    images = _IMAGE.findall(request)
    return _tokens(len(request) - sum(map(len, images))) + _IMAGE_TOKENS * len(images)


def _tokens(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)


def _largest(one: Usage, other: Usage) -> Usage:
    return Usage(
        max(one.input_tokens, other.input_tokens),
        max(one.output_tokens, other.output_tokens),
        max(one.cached_tokens, other.cached_tokens),
        max(one.reasoning_tokens, other.reasoning_tokens),
    )


def _usage(sent: Mapping[str, Any]) -> Usage:
    read, written, total = (_count(sent, *names) for names in (_INPUT, _OUTPUT, _TOTAL))
    if not (read or written):
        # A total alone: nothing says which part of it was written.
        read = total
    # llama.cpp: what was read anew, without what it had in its cache.
    read += _count(sent, "cache_n") if "prompt_n" in sent else 0
    # Some servers count reasoning in the total alone.
    written = max(written, total - read)
    return Usage(
        input_tokens=read,
        output_tokens=written,
        cached_tokens=max(_count(part, *_CACHED) for part in _with(sent, _INPUT_DETAILS)),
        reasoning_tokens=max(_count(part, *_REASONING) for part in _with(sent, _OUTPUT_DETAILS)),
    )


def _with(sent: Mapping[str, Any], details: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    yield sent
    for name in details:
        if isinstance(found := sent.get(name), Mapping):
            yield found


def _count(sent: Mapping[str, Any], *names: str) -> int:
    """The first of these fields that has a number of tokens in it; 0 if none does."""
    return next((n for name in names if (n := _number(sent.get(name)))), 0)


def _number(value: Any) -> int:
    """Servers write numbers as integers, floats or text, and null or nonsense for unknown."""
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
