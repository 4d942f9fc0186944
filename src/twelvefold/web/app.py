"""The web app: every route in one list, and what stands before them."""

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
from twelvefold.web.routes import chat_completions as completions
from twelvefold.web.routes import conversations, models, responses
from twelvefold.web.state import Web

ROUTES: list[BaseRoute] = [
    Route("/healthz", healthz),
    Route("/readyz", readyz),
    Route("/version", version),
    Route("/openapi.json", openapi),
    *models.ROUTES,
    *responses.ROUTES,
    *conversations.ROUTES,
    *completions.ROUTES,
    *PAGE,
]


def create_app(web: Web) -> Starlette:
    """The app for one process; it opens nothing by itself, so it needs no lifespan."""
    app = Starlette(
        routes=ROUTES,
        middleware=[Middleware(Edge), _gate(web)],
        exception_handlers={HTTPException: answer_http_exception},
    )
    # /v1/models/ is no other name of /v1/models, and no client follows a redirected POST well.
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
