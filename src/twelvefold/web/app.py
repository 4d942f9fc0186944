"""The web app: all routes in one list, and the middleware."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route

from twelvefold.web.http import (
    AdmissionMiddleware,
    BodyBudget,
    RequestMiddleware,
    handle_http_exception,
)
from twelvefold.web.openapi import openapi
from twelvefold.web.page.routes import PAGE
from twelvefold.web.probes import healthz, readyz, version
from twelvefold.web.routes import (
    admin,
    answers,
    chat_completions,
    conversation_items,
    conversations,
    journal,
    models,
    questions,
    responses,
    signals,
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
    *signals.ROUTES,
    *questions.ROUTES,
    *answers.ROUTES,
    *chat_completions.ROUTES,
    *admin.ROUTES,
    *PAGE,
]


def create_app(web: Web, routes: Sequence[BaseRoute] = ROUTES) -> Starlette:
    """Return the app of one process; it opens no service, so it needs no lifespan."""
    app = Starlette(
        routes=routes,
        middleware=[Middleware(RequestMiddleware), _admission(web)],
        exception_handlers={HTTPException: handle_http_exception},
    )
    # Most clients do not repeat the body of a redirected POST, so a trailing slash is a 404.
    app.router.redirect_slashes = False
    app.state.web = web
    return app


def _admission(web: Web) -> Middleware:
    return Middleware(
        AdmissionMiddleware,
        admission=web.admission,
        authenticator=web.authenticator,
        rate=web.rate,
        max_body_bytes=web.settings.max_body_bytes,
        body_budget=BodyBudget(),
    )
