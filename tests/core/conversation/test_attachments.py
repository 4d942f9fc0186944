"""Which images and files are valid, which models take them, and what they count in a window."""

from typing import Any

import msgspec
import pytest

from tests.attachments import PDF, PNG, PNG_BYTES, data_url, file, image, message, png_of
from tests.builders import asked, entries, finished, said, thread_of
from twelvefold.core.conversation.attachments import (
    ALL_INPUTS,
    FILE_BYTES,
    IMAGE_TOKENS,
    InputProblem,
    detect_media_type,
    estimate_tokens,
    find_invalid,
    find_unaccepted,
    has_attachments,
    inputs_of,
    media_of,
    size_in_window,
)
from twelvefold.core.events import ItemsAdded
from twelvefold.core.thread import fold

TEXT = {"type": "input_text", "text": "What is this?"}
RESULT = {"type": "function_call_output", "call_id": "c"}
URL = "https://example.org/receipt.png"
CHAT = frozenset({"image", "file"})


def problem(*parts: dict[str, Any]) -> tuple[str, str, str]:
    """Return the place, the code and the message of the problem of a message."""
    found = find_invalid([message(*parts)])
    assert found is not None
    assert found.index == 0
    return found.at, found.code, found.message


@pytest.mark.parametrize(
    "part",
    [
        image(),
        image(URL),
        image("HTTP://example.org"),
        image(data_url(b"\xff\xd8\xff\xe0", "image/jpeg")),
        image(data_url(b"RIFF\0\0\n\0WEBPVP8 ", "image/webp")),
        image(data_url(b"GIF89a", "IMAGE/GIF"), detail="low"),
        image(png_of(FILE_BYTES)),
        file(),
        file(data_url(b"\n%PDF-1.4", "application/pdf")),
        file(data_url("Größe\n".encode(), "text/plain;charset=utf-8"), "a.txt"),
        file(data_url(b"a,b", "text/csv")),
        {"type": "input_file", "file_url": "https://example.org/a.pdf"},
        {"type": "input_file", "file_url": "https://example.org/a.pdf", "filename": "a.pdf"},
    ],
)
def test_a_valid_image_or_file(part: dict[str, Any]) -> None:
    assert find_invalid([message(TEXT, part), {**RESULT, "output": [part]}]) is None


@pytest.mark.parametrize(
    ("part", "at", "code", "words"),
    [
        ({"type": "input_image"}, "image_url", "missing_required_parameter", "is missing"),
        (
            {"type": "input_image", "file_id": "file-1"},
            "file_id",
            "unsupported_parameter",
            "this server has no Files API; send image_url",
        ),
        ({"type": "input_file"}, "file_data", "missing_required_parameter", "is missing"),
        (
            {"type": "input_file", "file_id": "file-1"},
            "file_id",
            "unsupported_parameter",
            "no Files API; send file_data",
        ),
        (
            {"type": "input_file", "file_data": PDF},
            "filename",
            "missing_required_parameter",
            "needs one",
        ),
        (file(name=""), "filename", "invalid_value", "1 to 255"),
        (file(name="x" * 256), "filename", "invalid_value", "1 to 255"),
        (
            file() | {"file_url": URL},
            "file_url",
            "mutually_exclusive_parameters",
            "excludes file_data",
        ),
        (file("JVBERi0="), "file_data", "invalid_value", "must be a data URL"),
        (image("ftp://example.org/a"), "image_url", "invalid_value", "http:// or https://"),
        (image("file:///etc/passwd"), "image_url", "invalid_value", "http:// or https://"),
        (image("https://"), "image_url", "invalid_value", "http:// or https://"),
        (image("https://a/b c"), "image_url", "invalid_value", "http:// or https://"),
        (image("https://a/\x1b[2J"), "image_url", "invalid_value", "http:// or https://"),
        (
            image("https://a/" + "x" * 8_192),
            "image_url",
            "string_above_max_length",
            "at most 8192",
        ),
        (
            image(data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml")),
            "image_url",
            "unsupported_value",
            "must be base64 of one of image/png, image/jpeg, image/webp, image/gif",
        ),
        (image("data:image/png,abc"), "image_url", "unsupported_value", "must be base64"),
        (image(PDF), "image_url", "unsupported_value", "must be base64"),
        (file(PNG), "file_data", "unsupported_value", "application/pdf"),
        (image("data:image/png;base64,iVBO*"), "image_url", "invalid_value", "not valid base64"),
        (image("data:image/png;base64,iVB"), "image_url", "invalid_value", "not valid base64"),
        (
            image(data_url(b"GIF89a", "image/png")),
            "image_url",
            "invalid_value",
            "has data that is not image/png",
        ),
        (
            file(data_url(b"\xff\xfe", "text/plain")),
            "file_data",
            "invalid_value",
            "has data that is not text/plain",
        ),
        (
            image(png_of(FILE_BYTES + 3)),
            "image_url",
            "input_too_large",
            "3000003 bytes; 3000000 is the most",
        ),
    ],
)
def test_an_invalid_image_or_file(part: dict[str, Any], at: str, code: str, words: str) -> None:
    place, found_code, text = problem(TEXT, part)

    assert (place, found_code) == (f"content[1].{at}", code)
    assert words in text
    assert len(text) < 200  # nothing of the data


def test_the_first_invalid_part_is_found_in_a_result_too() -> None:
    items = [message(image()), {**RESULT, "output": [TEXT, image("x:")]}]

    found = find_invalid(items)

    assert found is not None
    assert (found.index, found.at) == (1, "output[1].image_url")


@pytest.mark.parametrize(
    ("item", "accepts", "at", "words"),
    [
        (message(TEXT, image()), frozenset[str](), "content[1].type", "takes no images"),
        (message(image()), {"file"}, "content[0].type", "add image to OPENAI_ACCEPTS"),
        (message(file()), {"image"}, "content[0].type", "add file to OPENAI_ACCEPTS"),
        (message(image(), role="developer"), CHAT, "content[0].type", "in user messages only"),
        ({**RESULT, "output": [image()]}, CHAT, "output[0].type", "in user messages only"),
        (
            message({"type": "input_file", "file_url": URL}),
            CHAT,
            "content[0].type",
            "takes no URL of a file",
        ),
    ],
)
def test_a_model_that_takes_none(
    item: dict[str, Any], accepts: frozenset[str], at: str, words: str
) -> None:
    found = find_unaccepted([message(TEXT), item], [frozenset(accepts)])

    assert found is not None
    assert (found.index, found.at, found.code) == (1, at, "unsupported_value")
    assert words in found.message


def test_one_model_of_a_chain_has_to_take_all_of_them() -> None:
    both, images, files = ALL_INPUTS, frozenset({"image"}), frozenset({"file"})

    assert find_unaccepted([message(image(), file())], [images, both]) is None
    assert find_unaccepted([message(image()), message(file())], [images, files]) == InputProblem(
        1,
        "content[0].type",
        "the model takes no files; if it does, add file to OPENAI_ACCEPTS or to MODELS",
        "unsupported_value",
    )
    assert find_unaccepted([message(TEXT)], []) is None
    assert find_unaccepted([message(image())], []) is not None


def test_a_thread_knows_whether_it_has_images_from_run_to_run() -> None:
    look = asked("look", message(image()))
    journal = entries(asked("hi"), said(), finished(), look, said(), finished(), asked("and?"))
    thread = fold(journal[:3])
    assert not thread.has_attachments

    later = thread.after(*journal[3:6])
    assert later.has_attachments
    again = later.after(*journal[6:])

    assert (later.has_attachments, later.history.has_attachments) == (True, False)
    assert (again.has_attachments, again.history.has_attachments) == (True, True)
    assert thread_of(ItemsAdded((message(file()),))).has_attachments


def test_the_responses_api_takes_them_anywhere() -> None:
    assert inputs_of(("image", "file"), "responses") == ALL_INPUTS
    assert inputs_of(("image",), "chat") == {"image"}
    assert inputs_of((), "responses") == set()


@pytest.mark.parametrize(
    ("data", "media_type"),
    [(PNG_BYTES, "image/png"), (b"x\n%PDF-1.4", "application/pdf"), (b"<svg/>", ""), (b"", "")],
)
def test_the_media_type_is_that_of_the_data(data: bytes, media_type: str) -> None:
    assert detect_media_type(data) == media_type


def test_text_has_no_attachments() -> None:
    calls = [{"type": "reasoning"}, {**RESULT, "output": "text"}, {"role": "user", "content": "x"}]

    assert not has_attachments([*calls, message(TEXT), message("odd")])  # type: ignore[arg-type]
    assert has_attachments([*calls, {"role": "user", "content": [file()]}])


@pytest.mark.parametrize(
    ("part", "media_type", "size", "tokens"),
    [
        (image(), "image/png", len(PNG_BYTES), IMAGE_TOKENS),
        (image(URL), "", 0, IMAGE_TOKENS),
        ({"type": "input_image"}, "", 0, IMAGE_TOKENS),
        (file(data_url(b"x" * 100, "text/plain")), "text/plain", 100, 34),
        (file(), "application/pdf", 13, IMAGE_TOKENS),
        (
            file(data_url(b"%PDF-".ljust(100_001), "application/pdf")),
            "application/pdf",
            100_001,
            3 * IMAGE_TOKENS,
        ),
    ],
)
def test_media_type_size_and_tokens(
    part: dict[str, Any], media_type: str, size: int, tokens: int
) -> None:
    assert media_of(part) == (media_type, size)
    assert estimate_tokens(part) == tokens


def test_an_image_takes_the_room_of_its_tokens_and_not_of_its_base64() -> None:
    small, large = [message(TEXT, image())], [message(TEXT, image(png_of(1_000_000)))]
    without = len(msgspec.json.encode([message(TEXT)]))

    assert size_in_window(small) == size_in_window(large)
    assert size_in_window(large) == without + 1 + 3 * IMAGE_TOKENS
    assert size_in_window([image()]) == 2 + 3 * IMAGE_TOKENS
    assert size_in_window({**RESULT, "output": [image()]}) < 3 * IMAGE_TOKENS + 100
    assert size_in_window([message(TEXT)]) == without
    assert size_in_window('a text about "input_image"') == 30
