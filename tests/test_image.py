"""The Dockerfile: what it takes is there, who it runs as, and its health check on a real server."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()


def instructions(word: str) -> list[str]:
    return [line.removeprefix(f"{word} ").strip() for line in LINES if line.startswith(f"{word} ")]


def test_the_base_is_one_image_named_by_its_digest() -> None:
    bases = {line.partition(" AS ")[0] for line in instructions("FROM")}

    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", bases.pop())


def test_the_engine_is_given_what_is_copied_and_nothing_else() -> None:
    copied = [
        source
        for line in instructions("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    ]
    everything, *given = (ROOT / ".dockerignore").read_text().splitlines()[1:]

    assert everything == "*"
    assert sorted(given) == sorted(f"!{source}" for source in copied)


def test_it_runs_as_nobody_and_ends_by_the_signal_that_is_meant() -> None:
    assert instructions("USER") == ["65532:65532"]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    for line in instructions("ENTRYPOINT") + instructions("CMD"):
        assert isinstance(json.loads(line), list)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[int]:
    """The port of a server as the image starts it, but for the address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "twelvefold", "web"],
        env={"PORT": "0", "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready = next(json.loads(line) for line in process.stdout if '"web_ready"' in line)
    yield int(ready["address"].rpartition(":")[2])
    process.kill()
    process.communicate()


def health(port: int, **environ: str) -> int:
    """The exit status of the health check."""
    (check,) = instructions("HEALTHCHECK")
    _, *command = json.loads(check.partition("CMD ")[2])
    # The image's python is this one.
    done = subprocess.run(
        [sys.executable, *command], env={"PORT": str(port), **environ}, stderr=subprocess.DEVNULL
    )
    return done.returncode


def test_the_health_check_sees_a_server_past_any_proxy(web: int) -> None:
    assert becomes_healthy(web)
    assert becomes_healthy(web, http_proxy="http://127.0.0.1:1")


def becomes_healthy(port: int, **environ: str) -> bool:
    """Repeat the check, whose timeout of two seconds may be too short for a busy machine."""
    return any(health(port, **environ) == 0 for _ in range(20))


def test_the_health_check_fails_where_nobody_listens() -> None:
    with socket.socket() as bound:  # no other process can take the port meanwhile
        bound.bind(("127.0.0.1", 0))

        assert health(bound.getsockname()[1]) == 1


def test_the_health_check_asks_a_tls_server_by_tls(web: int) -> None:
    assert health(web, TLS_CERT="/etc/tls/cert.pem") == 1
    assert urllib.request.urlopen(f"http://127.0.0.1:{web}/healthz", timeout=240).status == 200


@pytest.mark.slow
def test_the_engine_that_is_there_makes_the_image(tmp_path: Path) -> None:
    """With one that only notes how it was called, for this machine may have none."""
    (tmp_path / "bin").mkdir()
    for name, answer in (("docker", "exit 1"), ("podman", f'echo "$@" >>{tmp_path}/asked')):
        engine = tmp_path / "bin" / name
        engine.write_text(f"#!/bin/sh\n{answer}\n")
        engine.chmod(0o755)
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    shutil.copy(ROOT / "requirements-runtime.txt", tree)
    (tree / ".venv").symlink_to(sys.prefix)

    done = subprocess.run(
        [ROOT / "tools" / "build"],
        cwd=tree,
        env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert "image twelvefold:" in done.stderr
    _, built = (tmp_path / "asked").read_text().splitlines()
    assert built.startswith("build --quiet --format=docker --tag twelvefold:")
