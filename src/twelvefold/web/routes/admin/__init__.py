"""`/v1/admin`: what operators see and do, with the scope `admin`. No part of the OpenAI API."""

from starlette.routing import BaseRoute

from twelvefold.web.routes.admin import inbox, outbox, run, runs

ROUTES: list[BaseRoute] = [*runs.ROUTES, *run.ROUTES, *outbox.ROUTES, *inbox.ROUTES]
