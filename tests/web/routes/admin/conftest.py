"""A tenant, an operator and somebody else, each with a key of one process."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.web.doubles import OTHER, TOKEN, api_key
from tests.web.serving import Serve, Served

OPERATOR = f"tw_{'o' * 43}"


@dataclass
class Site:
    """One process with keys; `ann` and `bob` are tenants, `ops` is an operator."""

    ann: Served
    bob: Served
    ops: Served


@pytest.fixture
async def site(serve: Serve) -> Site:
    return await open_site(serve)


async def open_site(serve: Serve, **how: Any) -> Site:
    tokens = (TOKEN, OTHER, OPERATOR)
    ann, bob, ops = [
        await serve(headers={"authorization": f"Bearer {one}"}, **how) for one in tokens
    ]
    store = ann.web.services.store
    await store.add_key(api_key())
    await store.add_key(api_key(OTHER, "bob", "key-2"))
    await store.add_key(api_key(OPERATOR, "olga", "key-3", ("admin",)))
    for one in (ann, bob, ops):
        await one.get("/models")  # with a key, so that each process sees that there are keys
    return Site(ann, bob, ops)
