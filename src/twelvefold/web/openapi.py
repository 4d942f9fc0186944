"""`/openapi.json`: the generated document beside this file, with the models of this process."""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from twelvefold.web.schemas import model_names
from twelvefold.web.state import web_of


async def openapi(request: Request) -> Response:
    """Return the OpenAPI document."""
    names = tuple(model_names(web_of(request).services.offered))
    return Response(_document(names), media_type="application/json")


@cache
def _document(names: tuple[str, ...]) -> bytes:
    text = Path(__file__).with_name("openapi.json").read_bytes()
    document: dict[str, Any] = msgspec.json.decode(text)
    schemas = document["components"]["schemas"]
    for name in ("CreateResponse", "CreateChatCompletion"):
        schemas[name]["properties"]["model"]["enum"] = names
    return msgspec.json.encode(document)
