"""Images and files for tests: small, valid, and distinguishable by their data."""

from base64 import b64encode
from typing import Any

PNG_BYTES = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d4944415478da63fcffff3f0300050001ff0d5da4c70000000049454e44ae426082"
)
"""One pixel."""


def data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{b64encode(data).decode()}"


PNG = data_url(PNG_BYTES, "image/png")
PDF = data_url(b"%PDF-1.7\n%\xe2\xe3\n", "application/pdf")


def png_of(size: int) -> str:
    """Return a data URL of `size` bytes that starts as a PNG does."""
    return data_url(PNG_BYTES.ljust(size, b"\0"), "image/png")


def image(url: str = PNG, **members: Any) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url, **members}


def file(data: str = PDF, name: str = "bill.pdf") -> dict[str, Any]:
    return {"type": "input_file", "file_data": data, "filename": name}


def message(*parts: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": list(parts)}
