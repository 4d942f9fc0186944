"""A secret in a file: when it is read again, and what happens while it cannot be read."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from twelvefold import secret_file
from twelvefold.config.parse import header
from twelvefold.errors import SettingsError
from twelvefold.secret_file import MAX_BYTES, SecretFile


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("first\n")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all reads."""
    found: list[str] = []
    read = secret_file._read

    def counted(path: str) -> tuple[object, str]:
        found.append(path)
        return read(path)

    monkeypatch.setattr(secret_file, "_read", counted)
    return found


def secret_of(path: Path, parse: Callable[[str], str] = str) -> SecretFile:
    return SecretFile("DATABASE_PASSWORD_FILE", str(path), parse)


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"p4ss", "p4ss"),
        (b"p4ss\n", "p4ss"),
        (b"p4ss\r\n", "p4ss"),
        (b" with spaces \n", " with spaces "),
        ("p\u00e4ss \u2713\n".encode(), "p\u00e4ss \u2713"),
    ],
)
def test_line_breaks_at_the_end_are_not_part_of_a_secret(
    file: Path, content: bytes, secret: str
) -> None:
    file.write_bytes(content)

    assert secret_of(file).value() == secret


def test_a_file_that_did_not_change_is_read_once(file: Path, reads: list[str]) -> None:
    secret = secret_of(file)

    assert [secret.value() for _ in range(3)] == ["first"] * 3
    assert len(reads) == 1


def test_a_changed_file_is_read_again(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = secret_of(file)
    secret.value()
    file.write_text("second one\n")

    with caplog.at_level("INFO", "twelvefold"):
        assert secret.value() == "second one"

    assert secret.known == ("second one", "first")
    assert caplog.messages == ["secret_replaced"]
    assert "second one" not in str([vars(record) for record in caplog.records])


def test_the_swap_of_a_mounted_secret_is_a_change(tmp_path: Path) -> None:
    # As a kubelet writes it: password -> ..data/password, ..data -> ..2026_1.
    for version in ("..2026_1", "..2026_2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "password").write_text(f"of {version}")
        os.utime(tmp_path / version / "password", (1, 1))
    (tmp_path / "..data").symlink_to("..2026_1")
    (tmp_path / "password").symlink_to("..data/password")
    secret = secret_of(tmp_path / "password")
    assert secret.value() == "of ..2026_1"

    (tmp_path / "..data_tmp").symlink_to("..2026_2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    assert secret.value() == "of ..2026_2"


@pytest.mark.parametrize("moment", ["missing", "empty", "a directory"])
def test_a_file_that_is_gone_for_a_moment_leaves_the_secret_in_use(
    file: Path, caplog: pytest.LogCaptureFixture, moment: str
) -> None:
    secret = secret_of(file)
    secret.value()
    file.unlink()
    if moment == "empty":
        file.touch()
    if moment == "a directory":
        file.mkdir()

    with caplog.at_level("INFO", "twelvefold"):
        assert [secret.value() for _ in range(3)] == ["first"] * 3
    assert caplog.messages == ["secret_not_read"]

    file.rmdir() if moment == "a directory" else file.unlink(missing_ok=True)
    file.write_text("second")
    assert secret.value() == "second"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"a" * (MAX_BYTES + 1), "it has more than 65536 bytes, so it is not a secret"),
    ],
)
def test_a_file_without_a_secret_is_an_error_that_names_the_variable(
    file: Path, content: bytes | None, problem: str
) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    secret = secret_of(file)

    with pytest.raises(SettingsError) as raised:
        secret.value()

    assert str(raised.value) == f"DATABASE_PASSWORD_FILE: {file}: {problem}"
    file.write_text("now there is one")
    assert secret.value() == "now there is one"


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(SettingsError, match="it is not a regular file"):
        secret_of(tmp_path / "pipe").value()


def test_a_secret_that_cannot_be_used_is_not_in_the_error(file: Path) -> None:
    file.write_text("sk-1\nsk-2")

    with pytest.raises(SettingsError) as raised:
        secret_of(file, header).value()

    assert "invalid in an HTTP header" in str(raised.value)
    assert "sk-" not in f"{raised.value} {raised.value.__cause__} {raised.value.__context__}"


def test_a_refused_secret_is_read_again_even_if_the_file_looks_unchanged(file: Path) -> None:
    secret = secret_of(file)
    secret.value()
    status = file.stat()
    with file.open("r+") as written:
        written.write("other")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert secret.is_replaced("first", time.monotonic())
    assert secret.value() == "other"


def test_a_refused_secret_that_is_still_in_the_file_is_not_replaced(file: Path) -> None:
    secret = secret_of(file)
    secret.value()

    assert not secret.is_replaced("first", time.monotonic())


def test_many_refusals_at_once_read_the_file_once(file: Path, reads: list[str]) -> None:
    secret = secret_of(file)
    secret.value()
    reads.clear()
    tried_at = time.monotonic()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: secret.is_replaced("first", tried_at), range(50)))

    assert (answers, len(reads)) == ([False] * 50, 1)


def test_secrets_of_the_same_file_are_equal_and_show_no_secret(file: Path) -> None:
    one, other = secret_of(file), secret_of(file)
    one.value()

    assert one == other
    assert len({one, other}) == 1
    assert one != SecretFile("SMTP_PASSWORD_FILE", str(file))
    assert one != "first"
    assert "first" not in repr(one)
