"""The private parts of uvicorn that `http/server/protocol.py` and `web/server.py` use.

uvicorn may change them in any release, so pyproject.toml has an upper bound. When a test here fails
after an upgrade, adapt the class that it names; then raise the bound.
"""

import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from uvicorn import Server
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from twelvefold.web.http.server.protocol import HTTPProtocol, PausableFlow
from twelvefold.web.server import _Server

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_the_installed_uvicorn_is_below_the_upper_bound() -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    [bound] = [
        found[1]
        for requirement in project["dependencies"]
        if (found := re.fullmatch(r"uvicorn>=[\d.]+,<([\d.]+)", requirement))
    ]

    assert release_of(version("uvicorn")) < release_of(bound)


def release_of(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


@pytest.mark.parametrize(
    ("subclass", "base"),
    [(HTTPProtocol, HttpToolsProtocol), (PausableFlow, FlowControl), (_Server, Server)],
)
def test_every_overridden_method_has_the_parameters_of_uvicorns(subclass: type, base: type) -> None:
    overridden = {
        name: method
        for name, method in vars(subclass).items()
        if inspect.isfunction(method) and hasattr(base, name) and name != "__init__"
    }

    assert overridden
    for name, method in overridden.items():
        theirs = inspect.signature(getattr(base, name)).parameters
        assert list(inspect.signature(method).parameters) == list(theirs), name


@pytest.mark.parametrize(
    ("base", "methods"),
    [
        (HttpToolsProtocol, ["on_body", "on_headers_complete", "on_message_complete"]),
        (HttpToolsProtocol, ["on_response_complete", "connection_made", "connection_lost"]),
        (HttpToolsProtocol, ["_unset_keepalive_if_required", "timeout_keep_alive_handler"]),
        (FlowControl, ["pause_reading", "resume_reading"]),
        (Server, ["startup", "capture_signals", "serve"]),
    ],
)
def test_the_methods_that_are_called_or_overridden_exist(base: type, methods: list[str]) -> None:
    assert [name for name in methods if not callable(getattr(base, name, None))] == []


@pytest.mark.parametrize(
    ("owner", "attributes"),
    [
        (HttpToolsProtocol, ["loop", "parser", "cycle", "flow", "url", "headers", "transport"]),
        (HttpToolsProtocol, ["client", "timeout_keep_alive", "timeout_keep_alive_task"]),
        (RequestResponseCycle, ["scope", "body", "keep_alive", "message_event"]),
        (RequestResponseCycle, ["response_complete"]),
        (FlowControl, ["read_paused"]),
        (ServerState, ["connections"]),
        (Server, ["server_state", "should_exit", "started", "config"]),
    ],
)
def test_the_attributes_that_are_used_are_assigned(owner: type, attributes: list[str]) -> None:
    source = inspect.getsource(owner)

    assert [name for name in attributes if not re.search(rf"self\.{name}\b.*=", source)] == []


def test_a_status_line_ends_the_line() -> None:
    assert STATUS_LINE[503] == b"HTTP/1.1 503 Service Unavailable\r\n"
