"""HTTP to the model's server: its address, proxies, connections and the errors of connections."""

from twelvefold.services.model.http.connection_errors import ConnectionDropped, ServerUnreachable
from twelvefold.services.model.http.endpoint import Endpoint
from twelvefold.services.model.http.listing import ModelList, list_models
from twelvefold.services.model.http.proxies import NO_PROXIES, Proxies
from twelvefold.services.model.http.transport import (
    HTTPTransport,
    Response,
    Transport,
)

__all__ = [
    "NO_PROXIES",
    "ConnectionDropped",
    "Endpoint",
    "HTTPTransport",
    "ModelList",
    "Proxies",
    "Response",
    "ServerUnreachable",
    "Transport",
    "list_models",
]
