"""Why a connection did not come about, in words that say what to change."""

import os
import ssl
from typing import TYPE_CHECKING

from twelvefold.errors import ModelUnavailable
from twelvefold.services.model.http.endpoint import Endpoint
from twelvefold.services.model.openai.wire import TryAgain

if TYPE_CHECKING:
    from aiohttp import ClientHttpProxyError

_TRUST = (
    "put {what} into a PEM file and name that in SSL_CERT_FILE, which replaces the system's list"
)
_CERTIFICATE = {
    18: ("is self-signed", _TRUST.format(what="it")),
    19: (
        "is signed by an authority that this machine does not trust",
        _TRUST.format(what="the authority's certificate"),
    ),
    10: ("has expired", "renew it at the server"),
    9: ("is not valid yet", "compare the clocks of this machine and of the server"),
    62: ("is for another name", "use a name in OPENAI_BASE_URL that the certificate has"),
}
"""By OpenSSL's number of the error: what is wrong with a certificate, and what to do."""
_ALIKE = {2: 19, 20: 19, 21: 19, 64: 62}


class Unreachable(TryAgain):
    """No connection came about; that seldom changes within seconds."""


class Dropped(TryAgain):
    """The connection ended before an answer began, as one does that was kept for too long."""


def trusting(ca_file: str) -> ssl.SSLContext | bool:
    """What TLS connections check a server's certificate with; True for the system's list.

    Raises ModelUnavailable if the file cannot be used.
    """
    if not ca_file:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise ModelUnavailable(
            f"SSL_CERT_FILE: {ca_file} cannot be read as certificates: {reason_of(error)}"
        ).loggable() from None


def untrusted(endpoint: Endpoint, error: BaseException) -> ModelUnavailable:
    """For a server whose certificate does not pass."""
    cause = getattr(error, "certificate_error", error)
    code, said = getattr(cause, "verify_code", 0), getattr(cause, "verify_message", "")
    problem, remedy = _CERTIFICATE.get(
        _ALIKE.get(code, code), ("does not pass", _TRUST.format(what="it"))
    )
    detail = f" ({said.rstrip('.')})" if said else ""
    return ModelUnavailable(
        f"OPENAI_BASE_URL: the certificate of {endpoint.name} {problem}{detail}; {remedy}"
    ).loggable()


def no_tls(error: BaseException) -> Unreachable:
    """For a server with which no TLS connection comes about for another reason."""
    cause = getattr(error, "os_error", error)
    found = getattr(cause, "reason", None) or reason_of(error)
    if found in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return Unreachable(f"it does not speak TLS ({found}); is http:// meant?").loggable()
    return Unreachable(f"TLS: {found}").loggable()


def no_proxy(endpoint: Endpoint, error: BaseException) -> Unreachable:
    """For a proxy that cannot be reached."""
    return Unreachable(f"the proxy {endpoint.proxy_name}: {reason_of(error)}").loggable()


def refused_by_proxy(
    endpoint: Endpoint, error: "ClientHttpProxyError"
) -> Unreachable | ModelUnavailable:
    """For a proxy that does not let a connection through."""
    if error.status == 407:
        return ModelUnavailable(
            f"the proxy {endpoint.proxy_name} wants a user and a password; put them into its URL "
            "in HTTPS_PROXY"
        ).loggable()
    return Unreachable(f"the proxy {endpoint.proxy_name} answers HTTP {error.status}").loggable()


def reason_of(error: BaseException) -> str:
    """The operating system's words for a failed connection, else the error's own."""
    cause = getattr(error, "os_error", error)
    number = getattr(cause, "errno", None)
    if number and number > 0 and not isinstance(cause, ssl.SSLError):
        return os.strerror(number)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
