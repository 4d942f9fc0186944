"""HTTP without knowledge of runs: callers, limits, errors and pages.

Other packages import these names from here.
"""

from twelvefold.web.http.admission import RETRY_AFTER_S, SLOT, AdmissionControl, release_soon
from twelvefold.web.http.authentication import Authenticator, principal_of, require_scope
from twelvefold.web.http.body_budget import BodyBudget
from twelvefold.web.http.body_limit import parse_json
from twelvefold.web.http.client_address import TrustedAddresses
from twelvefold.web.http.client_watch import ClientWatch, KeyWatch, first_done, watch_keys
from twelvefold.web.http.errors import (
    CONVERSATION_TOO_LARGE,
    ApiError,
    abbreviate,
    handle_http_exception,
    json_response,
    raise_invalid,
)
from twelvefold.web.http.middleware import AdmissionMiddleware, RequestMiddleware, new_request_id
from twelvefold.web.http.pagination import (
    Page,
    check_list_parameters,
    check_oldest_first,
    list_object,
    paginate,
    parse_flag,
    parse_integer,
    parse_page,
)
from twelvefold.web.http.rate_limit import RateLimiter

__all__ = [
    "CONVERSATION_TOO_LARGE",
    "RETRY_AFTER_S",
    "SLOT",
    "AdmissionControl",
    "AdmissionMiddleware",
    "ApiError",
    "Authenticator",
    "BodyBudget",
    "ClientWatch",
    "KeyWatch",
    "Page",
    "RateLimiter",
    "RequestMiddleware",
    "TrustedAddresses",
    "abbreviate",
    "check_list_parameters",
    "check_oldest_first",
    "first_done",
    "handle_http_exception",
    "json_response",
    "list_object",
    "new_request_id",
    "paginate",
    "parse_flag",
    "parse_integer",
    "parse_json",
    "parse_page",
    "principal_of",
    "raise_invalid",
    "release_soon",
    "require_scope",
    "watch_keys",
]
