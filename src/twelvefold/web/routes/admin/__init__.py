"""`/v1/admin`: what operators see and do, with the scope `admin`. No part of the OpenAI API."""

from starlette.routing import BaseRoute

from twelvefold.web.routes.admin import budgets, inbox, keys, outbox, run, runs, usage, workers

ROUTES: list[BaseRoute] = [
    *runs.ROUTES,
    *run.ROUTES,
    *inbox.ROUTES,
    *outbox.ROUTES,
    *keys.ROUTES,
    *budgets.ROUTES,
    *workers.ROUTES,
    *usage.ROUTES,
]
