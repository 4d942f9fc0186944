"""Which models a server lists: a request that costs nothing and shows whether it can be reached."""

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec

from twelvefold.errors import ModelUnavailable
from twelvefold.services.model.http.endpoint import Endpoint
from twelvefold.services.model.openai.wire import UNREADABLE, TryAgain

_MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class ModelList:
    """The answer of the server called `server`; no `names` where it lists none."""

    server: str
    status: int
    names: frozenset[str] = frozenset()


async def list_models(endpoint: Endpoint, *, timeout_s: float) -> ModelList:
    """Ask a server for its models, over the same way as for a reply.

    Raises ModelUnavailable, with the server's name and the reason, if it does not answer.
    """
    from twelvefold.services.model.http.transport import HttpTransport

    transport = HttpTransport(endpoint, connect_timeout_s=timeout_s)
    try:
        async with asyncio.timeout(timeout_s), transport.get("/models") as answer:
            body = bytearray()
            while len(body) < _MOST_BYTES and (piece := await answer.read()):
                body += piece
            return ModelList(endpoint.name, answer.status, _names(answer.status, bytes(body)))
    except TimeoutError:
        raise ModelUnavailable(f"{endpoint.name}: no answer in {timeout_s:g} s") from None
    except TryAgain as fault:
        raise ModelUnavailable(f"{endpoint.name}: {fault.why}") from None
    except UNREADABLE as error:
        raise ModelUnavailable(f"{endpoint.name}: its list of models is no JSON: {error}") from None
    finally:
        await transport.close()


def _names(status: int, body: bytes) -> frozenset[str]:
    if status != 200:
        return frozenset()
    sent: Any = msgspec.json.decode(body)
    models = sent.get("data") if isinstance(sent, dict) else None
    listed = models if isinstance(models, list) else []
    return frozenset(str(one.get("id")) for one in listed if isinstance(one, dict))
