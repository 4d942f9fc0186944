"""Admin processes as the workflow starts them: on the deployment's database, or not at all."""

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
    """One that is migrated; its program is this checkout's."""
    (clone.path / ".venv" / "bin").mkdir(parents=True)
    program = shutil.which("twelvefold", path=f"{ROOT}/.venv/bin")
    assert program, "make init has not been run"
    (clone.path / ".venv" / "bin" / "twelvefold").symlink_to(program)
    clone.environ["DATABASE_URL"] = f"sqlite:///{clone.path}/deployment.db"
    clone.run(ADMIN, "migrate")
    return clone


def test_each_process_is_done(deployment: Clone) -> None:
    deployment.run(ADMIN, "seed")
    deployment.run(ADMIN, "prune", "30d")
    deployment.run(ADMIN, "keys list")

    findings = deployment.run(ADMIN, "doctor").stdout
    assert f"{deployment.path}/deployment.db" in findings
    assert "fail" not in findings


def test_a_new_key_is_shown_to_whoever_asked_for_it_alone(deployment: Clone) -> None:
    ssh_key = Path(deployment.environ["HOME"]) / "id_ed25519"
    Path(deployment.environ["GH_API"]).write_bytes(make_key(ssh_key))

    done = deployment.run(ADMIN, "keys create", "shop-web")

    assert deployment.asked() == ["api users/ann/keys --jq .[].key"]
    assert "tw_" not in done.stdout + done.stderr
    encrypted = deployment.path / "key.age"
    encrypted.write_text(done.stdout)
    key = deployment.run("age", "--decrypt", "--identity", str(ssh_key), str(encrypted)).stdout
    assert key.startswith("tw_")
    assert "shop-web" in deployment.run(ADMIN, "keys list").stdout


def make_key(path: Path) -> bytes:
    """Writes a private key of SSH there; returns the public one, as GitHub has it."""
    key = Ed25519PrivateKey.generate()
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    )
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH) + b"\n"


def test_nobody_who_could_read_it_is_no_reason_to_make_a_key(deployment: Clone) -> None:
    done = deployment.run(ADMIN, "keys create", "shop-web", check=False)

    assert done.returncode == 1
    assert "ann has no SSH key at GitHub" in done.stderr
    assert "shop-web" not in deployment.run(ADMIN, "keys list").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prune"], "prune needs an argument"),
        (["keys revoke", ""], "keys revoke needs an argument"),
        (["migrate", "--sql"], "migrate takes no argument"),
        (["shell"], "there is no process 'shell'"),
        (["doctor; id"], "there is no process 'doctor; id'"),
    ],
)
def test_what_is_not_asked_for_rightly_is_not_done(
    clone: Clone, arguments: list[str], said: str
) -> None:
    clone.environ["DATABASE_URL"] = "sqlite:///deployment.db"

    done = clone.run(ADMIN, *arguments, check=False)

    assert (done.returncode, done.stderr.strip()) == (1, f"admin: {said}")


def test_a_deployment_without_a_database_is_refused(clone: Clone) -> None:
    done = clone.run(ADMIN, "migrate", check=False)

    assert done.returncode == 1
    assert "DATABASE_URL is not set" in done.stderr
