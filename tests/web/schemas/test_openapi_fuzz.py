"""The OpenAPI document matches the service: a fuzzer that uses it finds no difference."""

import re
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.database import empty_database
from tests.cli.conftest import child, child_environ
from twelvefold.core.ports import SCOPES

EXAMPLES = 25
"""Random requests for each operation, beside those at the limits of every value."""
# A body that fits the document may still name an unknown model or response.
POSITIVE_CHECK = "positive_data_acceptance"


@contextmanager
def serving(here: Path, **settings: str) -> Iterator[str]:
    """Start a server without a log, and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    environ = child_environ(PORT=str(port), LOG_LEVEL="error", **settings)
    command = [sys.executable, "-m", "twelvefold", "web"]
    with subprocess.Popen(command, env=environ, cwd=here, stdout=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None and not _listens(port):
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
@pytest.mark.mysql
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_a_fuzzer_finds_no_difference_between_document_and_service(
    tmp_path: Path, kind: str
) -> None:
    with empty_database(kind, tmp_path) as url:
        child(tmp_path, "migrate", DATABASE_URL=url)
        scopes = [word for scope in SCOPES for word in ("--scope", scope)]
        created = child(tmp_path, "keys", "create", "fuzzer", *scopes, DATABASE_URL=url)
        key = re.search(r"tw_[\w-]+", created.out)
        assert key is not None, created

        fuzzed = _fuzzed(tmp_path, key[0], DATABASE_URL=url)

    assert fuzzed.returncode == 0, fuzzed.stdout[-20_000:]


def _fuzzed(tmp_path: Path, key: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    with serving(tmp_path, **settings) as address:
        return subprocess.run(
            [
                Path(sysconfig.get_path("scripts"), "schemathesis"),
                *("run", f"{address}/openapi.json"),
                *("--header", f"Authorization: Bearer {key}"),
                *("--checks", "all", "--exclude-checks", POSITIVE_CHECK),
                *("--max-examples", str(EXAMPLES), "--seed", "1", "--warnings", "off"),
                *("--no-color", "--request-timeout", "30"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
