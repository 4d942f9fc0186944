"""Errors of connections, with what the operator can change."""

import os
import ssl
from typing import TYPE_CHECKING

from twelvefold.errors import ModelUnavailable
from twelvefold.services.model.errors import RetryableError
from twelvefold.services.model.http.endpoint import Endpoint

if TYPE_CHECKING:
    from aiohttp import ClientHttpProxyError

_TRUST_REMEDY = (
    "put {what} into a PEM file and set SSL_CERT_FILE to it, which replaces the system's list"
)
_CERTIFICATE_PROBLEMS = {
    18: ("is self-signed", _TRUST_REMEDY.format(what="it")),
    19: (
        "is signed by an authority that this machine does not trust",
        _TRUST_REMEDY.format(what="the authority's certificate"),
    ),
    10: ("has expired", "renew it at the server"),
    9: ("is not valid yet", "compare the clocks of this machine and of the server"),
    62: ("is for another name", "use a name in OPENAI_BASE_URL that the certificate has"),
}
"""The problem of a certificate and its remedy, by OpenSSL's error number."""
_SAME_PROBLEM = {2: 19, 20: 19, 21: 19, 64: 62}


class ServerUnreachable(RetryableError):
    """No connection could be established. This rarely changes within seconds."""


class ConnectionDropped(RetryableError):
    """The connection ended before the response, for example after it was idle for too long."""


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Return the TLS context that trusts the certificates of a file; "" for the system's list.

    Raises ModelUnavailable if the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        raise ModelUnavailable(
            f"SSL_CERT_FILE: {ca_file} cannot be read as certificates: {describe_error(error)}"
        ).loggable() from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def certificate_error(endpoint: Endpoint, error: BaseException) -> ModelUnavailable:
    """Return the error for a server whose certificate is invalid."""
    cause = getattr(error, "certificate_error", error)
    code, message = getattr(cause, "verify_code", 0), getattr(cause, "verify_message", "")
    problem, remedy = _CERTIFICATE_PROBLEMS.get(
        _SAME_PROBLEM.get(code, code), ("is not accepted", _TRUST_REMEDY.format(what="it"))
    )
    detail = f" ({message.rstrip('.')})" if message else ""
    return ModelUnavailable(
        f"OPENAI_BASE_URL: the certificate of {endpoint.name} {problem}{detail}; {remedy}"
    ).loggable()


def tls_error(error: BaseException) -> ServerUnreachable:
    """Return the error for a TLS connection that failed for another reason."""
    cause = getattr(error, "os_error", error)
    found = getattr(cause, "reason", None) or describe_error(error)
    if found in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        problem = f"the server does not use TLS ({found}); should the URL start with http://?"
        return ServerUnreachable(problem).loggable()
    return ServerUnreachable(f"TLS: {found}").loggable()


def proxy_connection_error(endpoint: Endpoint, error: BaseException) -> ServerUnreachable:
    """Return the error for a proxy that cannot be reached."""
    return ServerUnreachable(f"the proxy {endpoint.proxy_name}: {describe_error(error)}").loggable()


def proxy_refusal_error(
    endpoint: Endpoint, error: "ClientHttpProxyError"
) -> ServerUnreachable | ModelUnavailable:
    """Return the error for a proxy that refuses a connection."""
    if error.status == 407:
        return ModelUnavailable(
            f"the proxy {endpoint.proxy_name} requires a user and a password; add them to its URL "
            "in HTTPS_PROXY"
        ).loggable()
    problem = f"the proxy {endpoint.proxy_name} returned HTTP {error.status}"
    return ServerUnreachable(problem).loggable()


def invalid_address(endpoint: Endpoint) -> ModelUnavailable:
    """Return the error for a URL or a header that cannot be sent."""
    problem = f"OPENAI_BASE_URL {endpoint.name!r} or OPENAI_API_KEY has invalid characters"
    return ModelUnavailable(problem).loggable()


def connection_dropped(error: BaseException, suffix: str = "") -> ConnectionDropped:
    """Return the error for a connection that ended before the response."""
    problem = f"the connection was dropped: {describe_error(error)}{suffix}"
    logged = f"the connection was dropped: {type(error).__name__}{suffix}"
    return ConnectionDropped(problem).loggable(logged)


def reply_broken(error: BaseException) -> RetryableError:
    """Return the error for a connection that ended within the response."""
    problem = f"the connection broke during the reply: {describe_error(error)}"
    logged = f"the connection broke during the reply: {type(error).__name__}"
    return RetryableError(problem).loggable(logged)


def describe_error(error: BaseException) -> str:
    """Return the operating system's text for a failed connection, otherwise the error's own."""
    cause = getattr(error, "os_error", error)
    number = getattr(cause, "errno", None)
    if number and number > 0 and not isinstance(cause, ssl.SSLError):
        return os.strerror(number)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
