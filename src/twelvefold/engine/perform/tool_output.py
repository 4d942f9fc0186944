"""A tool's result or error as the text that the model reads."""

from twelvefold.core.gates import ValidCall
from twelvefold.core.tools.rendering import render_result, truncate
from twelvefold.engine.services import Services
from twelvefold.observe.log import get_logger

log = get_logger(__name__)
UNREADABLE = "The tool did its work, but what it returned cannot be shown; tell the user"


def result_text(result: object, services: Services, call: ValidCall) -> str:
    """Return a result as text. A result that has none is no failure: the tool has done its work."""
    try:
        return model_text(render_result(result), services)
    except Exception as error:
        log.error("result_unreadable", tool=call.tool.name, call=call.call.id, error=error)
        return UNREADABLE


def model_text(text: str, services: Services) -> str:
    """Return the text shortened to the limit of a result, and valid as UTF-8.

    Half of a surrogate pair becomes a backslash escape.
    """
    limit = services.limits.result_chars
    clean = text.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= limit else truncate(clean, limit)
