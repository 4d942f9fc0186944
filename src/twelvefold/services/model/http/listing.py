"""Lists the models of a server: a free request that shows whether the server can be reached."""

import asyncio
from typing import Any

import msgspec
from msgspec import Struct

from twelvefold.errors import ModelUnavailable
from twelvefold.services.model.errors import DECODE_ERRORS, RetryableError
from twelvefold.services.model.http.endpoint import Endpoint
from twelvefold.services.model.http.transport import HTTPTransport

_MAX_BYTES = 4 << 20


class ModelList(Struct, frozen=True):
    """The response of a server; `names` is empty if it lists no models."""

    server: str
    status: int
    names: frozenset[str] = frozenset()


async def list_models(endpoint: Endpoint, *, timeout_s: float) -> ModelList:
    """Request the models of a server over the same route as a reply.

    Raises ModelUnavailable with the server's address and the reason.
    """
    transport = HTTPTransport(endpoint, connect_timeout_s=timeout_s)
    try:
        async with asyncio.timeout(timeout_s), transport.get("/models") as response:
            body = bytearray()
            while len(body) < _MAX_BYTES and (piece := await response.read()):
                body += piece
            return ModelList(endpoint.name, response.status, _names(response.status, bytes(body)))
    except TimeoutError:
        raise ModelUnavailable(f"{endpoint.name}: no response in {timeout_s:g} s") from None
    except RetryableError as fault:
        raise ModelUnavailable(f"{endpoint.name}: {fault.reason}") from None
    except DECODE_ERRORS as error:
        raise ModelUnavailable(
            f"{endpoint.name}: its list of models is not JSON: {error}"
        ) from None
    finally:
        await transport.close()


def _names(status: int, body: bytes) -> frozenset[str]:
    if status != 200:
        return frozenset()
    sent: Any = msgspec.json.decode(body)
    models = sent.get("data") if isinstance(sent, dict) else None
    listed = models if isinstance(models, list) else []
    return frozenset(str(one.get("id")) for one in listed if isinstance(one, dict))
