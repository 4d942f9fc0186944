"""The HTTP endpoint of the metrics. Its threads answer also while the event loop is blocked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from twelvefold.errors import SettingsError
from twelvefold.observe.log import get_logger

log = get_logger(__name__)


@contextmanager
def serve_metrics(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Serve the metrics at `GET /metrics` while the body runs; yield the port.

    Port 0 is any free port. Raises SettingsError if the process cannot listen there.
    """
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise SettingsError(
            f"METRICS_PORT: cannot listen at {host} port {port}: {error.strerror or error}"
        ) from error
    log.info("metrics_ready", host=host, port=server.server_port)
    try:
        yield server.server_port
    finally:
        server.server_close()
        # It takes up to half a second to stop, for which no process should wait.
        threading.Thread(target=server.shutdown, daemon=True).start()
