"""`twelvefold web` as a process under clients that overload it."""

import resource
import selectors
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.test_web import Web, serving

MIB = 1024 * 1024


def connect(web: Web, stack: ExitStack) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=10))


@pytest.mark.slow
def test_half_open_requests_do_not_block_other_clients(here: Path) -> None:
    with serving(here, files=256) as web, ExitStack() as stack:
        for _ in range(300):
            connect(web, stack).sendall(b"GET / HT")

        assert web.get("/healthz") == {"status": "ok"}
        assert web.wait_for("connection_limit")["connections"] == 128
        assert web.wait_for("connections_closed_for_others")["limit"] == 128


@pytest.mark.slow
def test_the_soft_limit_on_files_is_raised(here: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(here) as web:
        soft, _ = resource.prlimit(web.process.pid, resource.RLIMIT_NOFILE)

    assert soft == min(hard, 1_048_576)


def memory_mib(web: Web) -> float:
    status = Path(f"/proc/{web.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


@pytest.mark.slow
def test_slow_request_bodies_use_little_memory(here: Path) -> None:
    length = 4 * MIB
    head = f"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n"
    head += "content-type: application/json\r\n\r\n"
    with serving(here) as web, ExitStack() as stack:
        before = memory_mib(web)
        clients = [connect(web, stack) for _ in range(100)]
        sending = selectors.DefaultSelector()
        for client in clients:
            client.sendall(head.encode())
            client.setblocking(False)
            # All but the last byte, so that no body is complete.
            sending.register(client, selectors.EVENT_WRITE, [length - 1])
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for key, _ in sending.select(0.1):
                left: list[int] = key.data
                sent = key.fileobj.send(b"x" * min(left[0], 65_536))  # type: ignore[union-attr]
                left[0] -= sent
                if not left[0]:
                    sending.unregister(key.fileobj)

        assert web.get("/healthz") == {"status": "ok"}
        assert memory_mib(web) - before < 150
