"""What a server's words say about a failed request, where its status does not.

Sources: the error texts of OpenAI, Azure, vLLM, llama.cpp, Ollama, LM Studio, Mistral, Anthropic,
Gemini and Bedrock. `faults` makes errors of these verdicts.
"""

import re
from collections.abc import Mapping
from typing import Any

_TOO_LONG = re.compile(
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
_WINDOW = (
    re.compile(r"context (?:length|size|window)\D{0,40}?(\d[\d,]{2,})", re.IGNORECASE),
    re.compile(r">\s*(\d[\d,]{2,})\s*maximum", re.IGNORECASE),
    re.compile(r"context limit: [\d +]+>\s*(\d[\d,]{2,})", re.IGNORECASE),
    re.compile(r"(?:maximum prompt length|token limit)\D{0,10}?(\d[\d,]{2,})", re.IGNORECASE),
    re.compile(r"\b(\d[\d,]{2,}) maximum context length", re.IGNORECASE),
    re.compile(r"must (?:be <=|have less than) (\d[\d,]{2,})", re.IGNORECASE),
    re.compile(r"input length should be \[\d+, ?(\d{3,})\]", re.IGNORECASE),
    re.compile(r"maximum (?:number of )?(?:input )?tokens\D{0,40}?(\d[\d,]{2,})", re.IGNORECASE),
)
_OUTPUT = re.compile(
    r"max_(?:completion_|output_)?tokens.{0,60}too (?:large|high|big)", re.IGNORECASE
)
_BAD_TYPES = re.compile(
    r"bad.?request.*|invalid.?(request|argument|params?|input).*|unprocessable.*|validation.?error|"
    r"value.?error|type.?error|key.?error|json.?decode.?error|template.?error",
    re.IGNORECASE,
)
_NO_CHANCE = re.compile(
    # of a parser that has read the conversation, or of a template that was to render it
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
_OF_ANOTHER = re.compile(r"\b(?:response|upstream|backend|provider)\b", re.IGNORECASE)
"""A gateway that could not read what it was given itself."""


def is_too_long(error: Mapping[str, Any]) -> bool:
    """Whether the request, with its reply, does not fit the model's window."""
    if "rate_limit" in str(error.get("code")):
        return False  # tokens a minute, which is another limit
    return any(_TOO_LONG.search(str(error.get(key))) for key in ("code", "type", "message"))


def how_to_shorten(error: Mapping[str, Any]) -> str:
    """Which setting to change, with the window's size where the server tells it."""
    message = str(error.get("message"))
    if _OUTPUT.search(message):
        return "lower OPENAI_MAX_OUTPUT_TOKENS, or set OPENAI_CONTEXT_TOKENS to the model's window"
    size = error.get("n_ctx")
    found = (match[1] for pattern in _WINDOW if (match := pattern.search(message)))
    tokens = str(size) if isinstance(size, int) else next(found, "").replace(",", "")
    return f"set OPENAI_CONTEXT_TOKENS to {tokens or 'the size of its window'}"


def status_in(error: Mapping[str, Any]) -> int:
    """The HTTP status that stands within an error object, 0 if none does."""
    for key in ("code", "status", "status_code", "statusCode", "http_status"):
        text = str(error.get(key))
        if re.fullmatch(r"[45]\d\d", text):
            return int(text)
    return 0


def is_the_requests_fault(error: Mapping[str, Any]) -> bool:
    """Whether a server that answers 5xx says in its error that the request is wrong."""
    if 400 <= status_in(error) < 500:
        return status_in(error) not in (408, 409, 425, 429)
    return any(_BAD_TYPES.fullmatch(str(error.get(key))) for key in ("type", "code"))


def seems_the_requests_fault(error: Mapping[str, Any]) -> bool:
    """Whether the words of a 5xx are those of a parser or template that fails on the request."""
    message = str(error.get("message"))
    return bool(_NO_CHANCE.search(message)) and not _OF_ANOTHER.search(message)
