"""Admin processes as the workflow starts them: only on the database of the deployment."""

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.tools.conftest import ROOT, Clone

ADMIN = str(ROOT / "tools" / "admin")


@pytest.fixture
def deployment(clone: Clone) -> Clone:
    """A deployment with a migrated database and the program of this checkout."""
    (clone.path / ".venv" / "bin").mkdir(parents=True)
    program = shutil.which("twelvefold", path=f"{ROOT}/.venv/bin")
    assert program, "make init has not been run"
    (clone.path / ".venv" / "bin" / "twelvefold").symlink_to(program)
    clone.environ["DATABASE_URL"] = f"sqlite:///{clone.path}/deployment.db"
    clone.run(ADMIN, "migrate")
    return clone


def test_each_process_runs(deployment: Clone) -> None:
    deployment.run(ADMIN, "migrate --finish")
    deployment.run(ADMIN, "seed")
    deployment.run(ADMIN, "prune", "30d")
    deployment.run(ADMIN, "keys list")

    findings = deployment.run(ADMIN, "doctor").stdout
    assert f"{deployment.path}/deployment.db" in findings
    assert "fail" not in findings


def test_a_new_key_is_printed_encrypted_to_the_actor(deployment: Clone) -> None:
    ssh_key = Path(deployment.environ["HOME"]) / "id_ed25519"
    Path(deployment.environ["GH_API"]).write_bytes(make_key(ssh_key))

    done = deployment.run(ADMIN, "keys create", "shop-web")

    assert deployment.gh_calls() == ["api users/ann/keys --jq .[].key"]
    assert "tw_" not in done.stdout + done.stderr
    encrypted = deployment.path / "key.age"
    encrypted.write_text(done.stdout)
    key = deployment.run("age", "--decrypt", "--identity", str(ssh_key), str(encrypted)).stdout
    assert key.startswith("tw_")
    assert "shop-web" in deployment.run(ADMIN, "keys list").stdout


def make_key(path: Path) -> bytes:
    """Write a private SSH key to the path; return the public key as GitHub returns it."""
    key = Ed25519PrivateKey.generate()
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    )
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n"


def test_no_key_is_created_for_an_actor_without_an_ssh_key(deployment: Clone) -> None:
    done = deployment.run(ADMIN, "keys create", "shop-web", check=False)

    assert done.returncode == 1
    assert "ann has no SSH key at GitHub" in done.stderr
    assert "shop-web" not in deployment.run(ADMIN, "keys list").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune"], "prune needs an argument"),
        (["keys revoke", ""], "keys revoke needs an argument"),
        (["migrate", "--sql"], "migrate takes no argument"),
        (["shell"], "unknown process 'shell'"),
        (["doctor; id"], "unknown process 'doctor; id'"),
    ],
)
def test_an_invalid_call_is_rejected(clone: Clone, arguments: list[str], message: str) -> None:
    clone.environ["DATABASE_URL"] = "sqlite:///deployment.db"

    done = clone.run(ADMIN, *arguments, check=False)

    assert (done.returncode, done.stderr.strip()) == (1, f"admin: {message}")


def test_a_deployment_without_a_database_is_rejected(clone: Clone) -> None:
    done = clone.run(ADMIN, "migrate", check=False)

    assert done.returncode == 1
    assert "DATABASE_URL is not set" in done.stderr
