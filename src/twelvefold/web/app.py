"""The web app: all routes in one list, and the middleware."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from twelvefold.web.http.body_budget import BodyBudget
from twelvefold.web.http.errors import answer_http_exception
from twelvefold.web.http.middleware import Edge, Gate
from twelvefold.web.openapi import openapi
from twelvefold.web.page.routes import PAGE
from twelvefold.web.probes import healthz, readyz, version
from twelvefold.web.routes import (
    chat_completions,
    conversation_items,
    conversations,
    journal,
    models,
    responses,
)
from twelvefold.web.state import Web

ROUTES: list[BaseRoute] = [
    Route("/healthz", healthz),
    Route("/readyz", readyz),
    Route("/version", version),
    Route("/openapi.json", openapi),
    *models.ROUTES,
    *responses.ROUTES,
    *conversations.ROUTES,
    *conversation_items.ROUTES,
    *journal.ROUTES,
    *chat_completions.ROUTES,
    *PAGE,
]


def create_app(web: Web) -> Starlette:
    """Return the app of one process; it opens no service, so it needs no lifespan."""
    app = Starlette(
        routes=ROUTES,
        middleware=[Middleware(Edge), _gate(web)],
        exception_handlers={HTTPException: answer_http_exception},
    )
    # Most clients do not repeat the body of a redirected POST, so a trailing slash is a 404.
    app.router.redirect_slashes = False
    app.state.web = web
    return app


def _gate(web: Web) -> Middleware:
    return Middleware(
        Gate,
        admission=web.admission,
        authenticator=web.authenticator,
        rate=web.rate,
        max_body_bytes=web.settings.max_body_bytes,
        bodies=BodyBudget(),
    )
