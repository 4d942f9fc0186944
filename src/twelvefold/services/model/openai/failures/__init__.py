"""From the error of a server to an exception for the engine."""

from twelvefold.services.model.openai.failures.classification import (
    ErrorResponse,
    RequestContext,
    SuspectedRequestError,
    classify,
    not_an_api,
    parse_error_response,
)
from twelvefold.services.model.openai.failures.error_object import find_error
from twelvefold.services.model.openai.failures.parameter_names import Path, named_parameters

__all__ = [
    "ErrorResponse",
    "Path",
    "RequestContext",
    "SuspectedRequestError",
    "classify",
    "find_error",
    "named_parameters",
    "not_an_api",
    "parse_error_response",
]
