"""Decompresses bodies. No compression is requested, but some servers compress anyway."""

import zlib
from collections.abc import Awaitable, Callable

from twelvefold.services.model.errors import RetryableError

_MAX_PIECE_BYTES = 1 << 20
_GZIP, _ZLIB, _DEFLATE = 31, 15, -15


class Decompressor:
    """Decompresses the body of one response with gzip or deflate."""

    def __init__(self, encoding: str) -> None:
        self._is_deflate = encoding == "deflate"
        self._state: zlib._Decompress | None = None
        self._unread = b""

    async def read(self, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the next decompressed piece of what `read` returns, b"" at the end.

        A piece has a limited size. Raises RetryableError if the data is invalid.
        """
        while True:
            self._unread = self._unread or await read()
            if not self._unread:
                return self._state.flush() if self._state else b""
            if piece := self._decompress():
                return piece

    def _decompress(self) -> bytes:
        if self._state is None or self._state.eof:
            self._state = zlib.decompressobj(self._window_bits())
        try:
            piece = self._state.decompress(self._unread, _MAX_PIECE_BYTES)
        except zlib.error as error:
            raise RetryableError(
                f"the response cannot be decompressed: {error}"
            ).loggable() from None
        self._unread = self._state.unused_data or self._state.unconsumed_tail
        return piece

    def _window_bits(self) -> int:
        if not self._is_deflate:
            return _GZIP
        # Some servers send deflate without the header of zlib, whose first four bits are 8.
        return _ZLIB if self._unread[0] & 15 == 8 else _DEFLATE


def decompressor(encoding: str) -> Decompressor | None:
    """Return the decompressor of a Content-Encoding, None if the body is not compressed.

    Raises RetryableError for br and zstd. Unknown names are ignored: servers send a charset here.
    """
    name = encoding.strip().lower().removeprefix("x-")
    if name in ("br", "zstd"):
        raise RetryableError(
            f"the response is compressed with {name}, which was not requested"
        ).loggable()
    return Decompressor(name) if name in ("gzip", "deflate") else None
