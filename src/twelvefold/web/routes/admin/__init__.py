"""`/v1/admin`: what operators see and do, with the scope `admin`. No part of the OpenAI API."""

from starlette.routing import BaseRoute

from twelvefold.web.routes.admin import inbox, keys, outbox, run, runs

ROUTES: list[BaseRoute] = [
    *runs.ROUTES,
    *run.ROUTES,
    *inbox.ROUTES,
    *outbox.ROUTES,
    *keys.ROUTES,
]
