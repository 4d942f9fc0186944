"""HTTP without knowledge of runs: callers, limits, errors and pages.

Other packages import these names from here.
"""

from twelvefold.core import abbreviate
from twelvefold.web.http.admission import (
    SLOT,
    AdmissionControl,
    release_soon,
    too_many_runs,
)
from twelvefold.web.http.authentication import (
    Authenticator,
    Caller,
    KeyWatch,
    caller_of,
    principal_of,
    watch_keys,
)
from twelvefold.web.http.body_budget import BodyBudget
from twelvefold.web.http.client_address import TrustedAddresses
from twelvefold.web.http.errors import (
    CONVERSATION_TOO_LARGE,
    INSUFFICIENT_QUOTA,
    ApiError,
    handle_http_exception,
    insufficient_quota,
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
    parse_choice,
    parse_flag,
    parse_integer,
    parse_page,
    parse_text,
    parse_time_us,
)
from twelvefold.web.http.permissions import require_admin, require_scope, require_workflow
from twelvefold.web.http.rate_limit import Rate, RateLimiter

__all__ = [
    "CONVERSATION_TOO_LARGE",
    "INSUFFICIENT_QUOTA",
    "SLOT",
    "AdmissionControl",
    "AdmissionMiddleware",
    "ApiError",
    "Authenticator",
    "BodyBudget",
    "Caller",
    "KeyWatch",
    "Page",
    "Rate",
    "RateLimiter",
    "RequestMiddleware",
    "TrustedAddresses",
    "abbreviate",
    "caller_of",
    "check_list_parameters",
    "check_oldest_first",
    "handle_http_exception",
    "insufficient_quota",
    "json_response",
    "list_object",
    "new_request_id",
    "paginate",
    "parse_choice",
    "parse_flag",
    "parse_integer",
    "parse_page",
    "parse_text",
    "parse_time_us",
    "principal_of",
    "raise_invalid",
    "release_soon",
    "require_admin",
    "require_scope",
    "require_workflow",
    "too_many_runs",
    "watch_keys",
]
