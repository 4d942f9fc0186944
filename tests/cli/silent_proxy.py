"""A proxy for a database that stops forwarding after a certain statement."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class SilentProxy:
    """Forwards connections to `url` until it falls silent.

    The last statement still reaches the server, but its response does not come back. Connections
    stay open, and new ones are accepted.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = parts.hostname or "127.0.0.1", parts.port or 3306
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._listening.getsockname()[1]
        self._wait_for: list[bytes] = []
        self._sockets: list[socket.socket] = []
        self.silent = threading.Event()
        login = parts.netloc.rpartition("@")[0]
        self.url = parts._replace(netloc=f"{login}@127.0.0.1:{self._port}").geturl()
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent_at(self, *statements: str) -> None:
        """Fall silent when clients have sent statements with these texts, in this order."""
        self._wait_for = [statement.encode() for statement in statements]

    def close(self) -> None:
        for one in (self._listening, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._sockets.append(client)
                if self.silent.is_set():
                    continue
                server = socket.create_connection(self._server)
                self._sockets.append(server)
                for source, target in ((client, server), (server, client)):
                    pump = (source, target, source is client)
                    threading.Thread(target=self._pump, args=pump, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, is_client: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if self.silent.is_set():
                    return
                if is_client and self._is_last(data):
                    self.silent.set()
                target.sendall(data)
            for one in (source, target):
                one.shutdown(socket.SHUT_RDWR)

    def _is_last(self, data: bytes) -> bool:
        if not self._wait_for or self._wait_for[0] not in data:
            return False
        del self._wait_for[0]
        return not self._wait_for


@contextmanager
def silent_proxy(url: str) -> Iterator[SilentProxy]:
    proxy = SilentProxy(url)
    try:
        yield proxy
    finally:
        proxy.close()
