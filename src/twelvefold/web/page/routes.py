"""The page at `/` and its files, as they are in `static/`: read once, asked for again by tag.

Its policy lets in nothing but those files: no script or style of a model's, no request elsewhere.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from twelvefold.web.state import web_of

_HERE = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
"""The last two: text that becomes markup or script is an error, in this code or in a library's."""
DEMO, REAL = "demo", "openai"


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is served; `tag` changes with what is in it."""

    body: bytes
    type: str
    tag: str


def _file(body: bytes, suffix: str) -> File:
    return File(body, _TYPES[suffix], f'"{sha256(body).hexdigest()[:32]}"')


def _page(model: str) -> File:
    """The page where this model answers: it says so if it is the demo model."""
    whole = (_HERE / "chat.html").read_text(encoding="utf-8")
    return _file(whole.replace("{{model}}", model).encode(), ".html")


_PAGES = {model: _page(model) for model in (DEMO, REAL)}
_FILES = {
    path.name: _file(path.read_bytes(), path.suffix)
    for path in sorted(_HERE.iterdir())
    if path.suffix in _TYPES and path.suffix != ".html"
}
_SENT = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    # Kept, but asked for again each time: after a release nobody has half of the old page.
    "cache-control": "no-cache",
}


async def page(request: Request) -> Response:
    """The page itself; it needs no key, what it asks for does."""
    return _sent(request, _PAGES[REAL if web_of(request).settings.model_base_url else DEMO])


async def static(request: Request) -> Response:
    """One of the page's files."""
    file = _FILES.get(request.path_params["name"])
    if file is None:
        raise HTTPException(404)
    return _sent(request, file)


def _sent(request: Request, file: File) -> Response:
    headers = {**_SENT, "etag": file.tag}
    known = re.findall(r'"[^"]*"', request.headers.get("if-none-match", ""))
    if file.tag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers, media_type=f"{file.type}; charset=utf-8")


PAGE: list[BaseRoute] = [Route("/", page), Route("/static/{name}", static)]
