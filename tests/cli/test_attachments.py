"""`twelvefold run --image --file`, and /image and /file in a chat."""

import json
from pathlib import Path

import pytest

from tests.attachments import PDF, PNG, PNG_BYTES, file, image
from tests.cli.conftest import ModelServer, Twelvefold, child
from twelvefold.cli.attachments import file_part, image_part, part_label
from twelvefold.errors import RequestError

URL = "https://example.org/a.png"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dot.png").write_bytes(PNG_BYTES)
    (tmp_path / "bill.pdf").write_bytes(b"%PDF-1.7\n%\xe2\xe3\n")
    (tmp_path / "notes.md").write_text("# Größe\n")
    monkeypatch.setenv("OPENAI_ACCEPTS", "image,file")
    return tmp_path


def test_images_and_files_are_sent_with_the_message(
    shop: ModelServer, tw: Twelvefold, files: Path
) -> None:
    done = tw(
        "run", "--image", f"{files}/dot.png", "--image", URL, "--file", f"{files}/bill.pdf", "x"
    )

    assert (done.status, done.out) == (0, "said: x\n")
    [sent] = shop.calls[-1].body["input"]
    assert sent["content"] == [
        {"type": "input_text", "text": "x"},
        image(detail="auto"),
        image(URL, detail="auto"),
        file(),
    ]
    assert PNG[30:60] not in done.err


def test_a_message_may_be_an_image_alone(shop: ModelServer, tw: Twelvefold, files: Path) -> None:
    assert tw("run", "--image", f"{files}/dot.png", "").status == 0

    assert shop.calls[-1].body["input"][0]["content"] == [image(detail="auto")]


def test_the_default_model_of_a_server_takes_no_images(
    shop: ModelServer, tw: Twelvefold, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_ACCEPTS")

    done = tw("run", "--image", f"{files}/dot.png", "x")

    assert done.status == 2
    assert "takes no images" in done.err
    assert shop.calls == []
    assert tw("runs", "list", "--json").out == ""


@pytest.mark.parametrize(
    ("option", "source", "error"),
    [
        ("--image", "none.png", "'none.png' cannot be read: No such file"),
        ("--image", "notes.md", "must be base64 of one of image/png"),
        ("--image", "https://", "must be a URL"),
        ("--file", "dot.png", "must be base64 of one of application/pdf"),
        ("--file", "big.txt", "'big.txt' is longer than 3000000 bytes"),
        ("--file", "latin1.txt", "has data that is not text/plain"),
        ("--file", "\x1b[2J", r"'\x1b[2J' cannot be read"),
    ],
)
@pytest.mark.usefixtures("shop")
def test_the_error_names_the_file(
    tw: Twelvefold, here: Path, files: Path, option: str, source: str, error: str
) -> None:
    (here / "big.txt").write_bytes(b"x" * 3_000_001)
    (here / "latin1.txt").write_bytes("Größe".encode("latin1"))
    for name in ("dot.png", "notes.md"):
        (here / name).write_bytes((files / name).read_bytes())

    done = tw("run", option, source, "x")

    assert done.status == 2
    assert error in done.err
    assert "\x1b" not in done.err


def test_the_type_of_a_text_file_is_that_of_its_name(files: Path) -> None:
    assert file_part(f"{files}/notes.md")["file_data"].startswith("data:text/markdown;base64,")
    (files / "notes").write_text("x")
    assert file_part(f"{files}/notes")["file_data"].startswith("data:text/plain;base64,")
    assert file_part("https://a/b.pdf") == {"type": "input_file", "file_url": "https://a/b.pdf"}
    with pytest.raises(RequestError, match="the name is invalid"):
        image_part("\0")


@pytest.mark.parametrize(
    ("part", "label"),
    [
        (image(), "[image: image/png, 70 bytes]"),
        (image(URL), f"[image: {URL}]"),
        (file(), "[bill.pdf: application/pdf, 13 bytes]"),
        (file(name="\x1b[2J\n.pdf"), r"[\x1b[2J\n.pdf: application/pdf, 13 bytes]"),
        ({"type": "input_file", "file_url": URL}, f"[file: {URL}]"),
        ({"type": "input_text", "text": "x"}, ""),
    ],
)
def test_a_label_has_name_type_and_size(part: dict[str, str], label: str) -> None:
    assert part_label(part) == label


def test_files_are_attached_in_a_chat(shop: ModelServer, here: Path, files: Path) -> None:
    lines = f"/image {files}/dot.png\n/file {files}/bill.pdf\n/image {files}/none\nhello\nthanks\n"

    done = child(here, "chat", stdin=lines)

    assert done.status == 0
    assert "([image: image/png, 70 bytes] is sent with the next message)" in done.lines
    assert "([bill.pdf: application/pdf, 13 bytes] is sent with the next message)" in done.lines
    assert any("cannot be read: No such file" in line for line in done.lines)
    first, *_, last = shop.calls[-1].body["input"]
    assert [part["type"] for part in first["content"]] == [
        "input_text",
        "input_image",
        "input_file",
    ]
    assert json.dumps(last).count("input_image") == 0
    assert PDF[30:] not in done.out


def test_a_transcript_has_labels_and_no_data(
    shop: ModelServer, tw: Twelvefold, files: Path
) -> None:
    run = tw("run", "--json", "--image", f"{files}/dot.png", "x").json["run"]

    shown = tw("runs", "show", run).out

    assert "> x\n[image: image/png, 70 bytes]\n" in shown
    assert PNG[30:60] not in shown
    assert PNG in tw("runs", "export", run).out
    assert shop.calls
