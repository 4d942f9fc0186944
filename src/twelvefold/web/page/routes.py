"""Serves the pages at `/` and `/operations`, and their files.

The files are read at import and revalidated by `ETag`.

The content security policy allows only those files, and images as data URLs: no inline script or
style, no other server.
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

_STATIC = Path(__file__).parent / "static"
_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# The last two make it an error to turn text into markup or script.
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    # An image that was sent is shown from its data URL; none is loaded from another server.
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
_HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    # Stored, but revalidated for every request, so that no browser mixes the files of two releases.
    "cache-control": "no-cache",
}
_DEMO, _OPENAI = "demo", "openai"


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    media_type: str
    etag: str


def _file(body: bytes, suffix: str) -> _File:
    return _File(body, _MEDIA_TYPES[suffix], f'"{sha256(body).hexdigest()[:32]}"')


def _template(name: str, **parts: str) -> _File:
    """Return a page with these parts in place of their names in braces."""
    text = (_STATIC / name).read_text(encoding="utf-8")
    for part, value in parts.items():
        text = text.replace(f"{{{{{part}}}}}", value)
    return _file(text.encode(), ".html")


_LOGIN = (_STATIC / "login.html").read_text(encoding="utf-8").rstrip("\n")
# With the demo model the page has a notice.
_PAGES = {kind: _template("chat.html", model=kind, login=_LOGIN) for kind in (_DEMO, _OPENAI)}
_OPERATIONS = _template("operations/operations.html", login=_LOGIN)
_FILES = {
    path.relative_to(_STATIC).as_posix(): _file(path.read_bytes(), path.suffix)
    for path in sorted(_STATIC.rglob("*"))
    if path.suffix in _MEDIA_TYPES and path.suffix != ".html"
}


async def page(request: Request) -> Response:
    """Serve the page. It needs no API key; its requests to the API may need one."""
    return _response(request, _PAGES[_OPENAI if web_of(request).settings.model_base_url else _DEMO])


async def operations(request: Request) -> Response:
    """Serve the page of operators. It needs no API key; its requests need the scope `admin`."""
    return _response(request, _OPERATIONS)


async def static(request: Request) -> Response:
    """Serve one of the files of the pages."""
    file = _FILES.get(request.path_params["name"])
    if file is None:
        raise HTTPException(404)
    return _response(request, file)


def _response(request: Request, file: _File) -> Response:
    headers = {**_HEADERS, "etag": file.etag}
    cached = re.findall(r'"[^"]*"', request.headers.get("if-none-match", ""))
    if file.etag in cached:
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers, media_type=f"{file.media_type}; charset=utf-8")


PAGE: list[BaseRoute] = [
    Route("/", page),
    Route("/operations", operations),
    Route("/static/{name:path}", static),
]
