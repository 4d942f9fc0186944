"""Recognizes the cause of an error by its text, where the HTTP status is not enough.

Sources: the error texts of OpenAI, Azure, vLLM, llama.cpp, Ollama, LM Studio, Mistral, Anthropic,
Gemini and Bedrock.
"""

import re
from collections.abc import Mapping
from typing import Any

_CONTEXT_OVERFLOW = re.compile(
    r"context_length|context[ _](?:length|window|size|limit)|context too long|maximum context|"
    r"(?:prompt|input|request|conversation|messages?) (?:is|are) too long|"
    r"too many (?:input )?tokens|"
    r"input token count|token count .{0,40}exceeds|"
    r"exceed(?:s|ed)? .{0,60}\btokens? (?:limit|allowed)|"
    r"number of tokens .{0,40}exceeds? the model|"
    r"exceeds? (?:the )?max(?:imum)? (?:input |prompt )?length|range of input length should be|"
    r"\bmax_new_tokens\W{0,3}must be <=|\binputs\W{0,3}must have less than|"
    r"max_(?:completion_)?tokens must be (?:at least|greater than) \d+\b.{0,20}-\d|"
    r"maximum (?:number of |input |prompt )+(?:tokens|length)|max_prompt_tokens|"
    r"reduce the length of (?:the|your) (?:messages|input|prompt)|exceed_context_size|"
    r"longer than the (?:model'?s )?(?:maximum|context)",
    re.IGNORECASE,
)
_WINDOW_SIZE = (
    re.compile(r"context (?:length|size|window)\D{0,40}?(\d[\d,]{2,})", re.IGNORECASE),
    re.compile(r">\s*(\d[\d,]{2,})\s*maximum", re.IGNORECASE),
    re.compile(r"context limit: [\d +]+>\s*(\d[\d,]{2,})", re.IGNORECASE),
    re.compile(r"(?:maximum prompt length|token limit)\D{0,10}?(\d[\d,]{2,})", re.IGNORECASE),
    re.compile(r"\b(\d[\d,]{2,}) maximum context length", re.IGNORECASE),
    re.compile(r"must (?:be <=|have less than) (\d[\d,]{2,})", re.IGNORECASE),
    re.compile(r"input length should be \[\d+, ?(\d{3,})\]", re.IGNORECASE),
    re.compile(r"maximum (?:number of )?(?:input )?tokens\D{0,40}?(\d[\d,]{2,})", re.IGNORECASE),
)
_OUTPUT_TOO_LARGE = re.compile(
    r"max_(?:completion_|output_)?tokens.{0,60}too (?:large|high|big)", re.IGNORECASE
)
_CLIENT_ERROR_TYPE = re.compile(
    r"bad.?request.*|invalid.?(request|argument|params?|input).*|unprocessable.*|validation.?error|"
    r"value.?error|type.?error|key.?error|json.?decode.?error|template.?error",
    re.IGNORECASE,
)
_PARSER_OR_TEMPLATE_ERROR = re.compile(
    # errors of a parser that read the conversation, or of the chat template
    r"json\.exception|parse_error|failed to parse|error parsing|could not parse|cannot parse|"
    r"jsondecodeerror|json\.decoder|expecting value|expecting property name|extra data: line|"
    r"unterminated string|invalid (?:control )?character|"
    r"unexpected end of (?:json )?(?:input|data)|"
    r"cannot unmarshal|invalid json|not valid json|malformed|"
    r"jinja|chat.?template|templateerror|undefinederror|raise_exception|is not callable|"
    r"must alternate|is not iterable|object has no attribute|has no attribute|"
    r"\b(?:role|message|tool_call|argument|content)s?\b.{0,40}\b(?:must|required|invalid)\b",
    re.IGNORECASE,
)
_UPSTREAM = re.compile(r"\b(?:response|upstream|backend|provider)\b", re.IGNORECASE)
"""The gateway could not read the response of its upstream server."""


def is_context_overflow(error: Mapping[str, Any]) -> bool:
    """Return whether the request and its reply exceed the model's context window."""
    if "rate_limit" in str(error.get("code")):
        return False  # the limit on tokens per minute
    return any(_CONTEXT_OVERFLOW.search(str(error.get(key))) for key in ("code", "type", "message"))


def overflow_remedy(error: Mapping[str, Any]) -> str:
    """Return which setting to change, with the size of the window if the error contains it."""
    message = str(error.get("message"))
    if _OUTPUT_TOO_LARGE.search(message):
        return "lower OPENAI_MAX_OUTPUT_TOKENS, or set OPENAI_CONTEXT_TOKENS to the model's window"
    size = error.get("n_ctx")
    found = (match[1] for pattern in _WINDOW_SIZE if (match := pattern.search(message)))
    tokens = str(size) if isinstance(size, int) else next(found, "").replace(",", "")
    return f"set OPENAI_CONTEXT_TOKENS to {tokens or 'the size of its window'}"


def status_in(error: Mapping[str, Any]) -> int:
    """Return the HTTP status within an error object, 0 if there is none."""
    for key in ("code", "status", "status_code", "statusCode", "http_status"):
        text = str(error.get(key))
        if re.fullmatch(r"[45]\d\d", text):
            return int(text)
    return 0


def is_client_error(error: Mapping[str, Any]) -> bool:
    """Return whether the error of a 5xx response has the code or type of a client error."""
    if 400 <= status_in(error) < 500:
        return status_in(error) not in (408, 409, 425, 429)
    return any(_CLIENT_ERROR_TYPE.fullmatch(str(error.get(key))) for key in ("type", "code"))


def looks_like_client_error(error: Mapping[str, Any]) -> bool:
    """Return whether the text of a 5xx is an error of a parser or chat template."""
    message = str(error.get("message"))
    return bool(_PARSER_OR_TEMPLATE_ERROR.search(message)) and not _UPSTREAM.search(message)
