"""HTTP/1.1 on uvicorn's protocol class: exact limits, one request at a time, and timeouts.

The parser of httptools reads heads only. `framing` finds the end of a head and of a body, so that
limits count the right bytes. Bytes after a request wait until its response is complete.

uvicorn's protocol and flow control classes are private, so only this module imports them, and
pyproject.toml has an upper version bound. `tests/web/http/test_uvicorn.py` lists what is used.
"""

import asyncio
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from twelvefold.observe.log import get_logger
from twelvefold.web.http.client_address import client_of
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.middleware import BODY_ERROR, SECURITY_HEADERS, new_request_id
from twelvefold.web.http.server.chunked_body import ChunkedBody
from twelvefold.web.http.server.connections import ConnectionSlot, ReceiveLimits, ReceiveTimer
from twelvefold.web.http.server.framing import HeadReader, LengthBody, body_of, check_head
from twelvefold.web.http.server.framing_limits import MALFORMED

log = get_logger(__name__)
MAX_PIPELINED_BYTES = 65_536
"""Bytes of later requests that are read while a request is in progress."""


class PausableFlow(FlowControl):
    """Flow control that also stops reading while bytes wait after the request in progress."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._is_held = False
        self._is_wanted = True

    def pause_reading(self) -> None:
        """Stop reading for the request in progress."""
        self._is_wanted = False
        super().pause_reading()

    def resume_reading(self) -> None:
        """Read for the request in progress, unless reading is held."""
        self._is_wanted = True
        if not self._is_held:
            super().resume_reading()

    def hold(self, held: bool) -> None:
        """While held, read nothing, whatever the request in progress wants."""
        if held == self._is_held:
            return
        self._is_held = held
        if held:
            super().pause_reading()
        elif self._is_wanted:
            super().resume_reading()


class HTTPProtocol(HttpToolsProtocol):
    """One connection.

    The next request is parsed after the response to the one before, so that responses do not depend
    on how the bytes arrive.
    """

    def __init__(
        self, *args: object, slot: ConnectionSlot, limits: ReceiveLimits, **options: object
    ) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # uvicorn's own parameters
        self._slot = slot
        self._limits = limits
        self._timer = ReceiveTimer(self.loop, limits, self._is_paused, self._close)
        self._rest = b""
        self._head = HeadReader(limits.framing)
        self._body: LengthBody | ChunkedBody | None = None
        self._head_error: ApiError | None = None
        self._discarded_bytes = 0
        self._is_over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow: PausableFlow = PausableFlow(transport)
        self._slot.close = transport.abort
        self._timer.begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.close()
        self._unset_keepalive_if_required()  # its timer refers to the connection
        self._slot.release()
        self._rest = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._unset_keepalive_if_required()
        self._rest += data
        self._advance()

    @property
    def _is_responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_paused(self) -> bool:
        return self.flow.read_paused

    def _close(self) -> None:
        self._is_over = True
        self.transport.close()

    def _advance(self) -> None:
        """Parse the received bytes up to the end of the request in progress."""
        while self._rest and not self._is_over and not self.transport.is_closing():
            if self._body is not None:
                self._read_body(self._body)
            elif self._is_responding:
                break
            else:
                self._read_head()
        if self._body is not None and not self._is_over:
            self._timer.begin_body()
        self.flow.hold(len(self._rest) > MAX_PIPELINED_BYTES)

    # --- the head ---------------------------------------------------------------------------------

    def _read_head(self) -> None:
        self._rest = self._rest[self._head.skip_blank(self._rest) :]
        if self._head.error is None and self._rest:
            data, self._rest = self._rest, b""
            end = self._head.take(data)
            self._parse_head(data[:end])
            self._rest = data[end:]
        if error := self._head_error or self._head.error:
            self._reject(error)
        elif self._head.complete:
            self._head = HeadReader(self._limits.framing)
            self.parser = httptools.HttpRequestParser(self)
        else:
            self._timer.begin_head()

    def _parse_head(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request is answered in HTTP/1.1. Source: RFC 9110, section 7.8.
            return
        except httptools.HttpParserError:
            self._head_error = self._head_error or MALFORMED

    def on_headers_complete(self) -> None:
        """Start the request if its head is valid."""
        version = self.parser.get_http_version()
        try:
            if not self._head.complete:
                raise MALFORMED
            check_head(version, self.url, self.headers)
            self._body = body_of(version, self.headers, self._limits.framing)
        except ApiError as error:
            self._head_error = error
            return
        super().on_headers_complete()
        self._unset_keepalive_if_required()  # a pipelined request arrives without `data_received`
        self._slot.set_busy()
        self._discarded_bytes = 0
        if self._body is None:
            self._receive_complete()

    def on_message_complete(self) -> None:
        """Do nothing: the parser has read only the head."""

    # --- the body ---------------------------------------------------------------------------------

    def _read_body(self, body: LengthBody | ChunkedBody) -> None:
        content: list[bytes] = []
        data, self._rest = self._rest, b""
        end = body.take(data, content)
        self._rest = data[end:]
        self._timer.count(end)
        self._take_content(content[0] if len(content) == 1 else b"".join(content))
        if body.error is not None:
            self._fail_body(body.error)
        elif body.complete:
            self._body = None
            self._receive_complete()

    def _take_content(self, content: bytes) -> None:
        if self._is_responding:
            super().on_body(content)
            return
        self._discarded_bytes += len(content)
        if self._discarded_bytes > self._limits.discard_bytes:
            self._close()

    def _fail_body(self, error: ApiError) -> None:
        """Let the app respond, which may not need the rest of the body; then close."""
        self._is_over = True
        self._timer.end()
        if not self._is_responding:
            self.transport.close()
            return
        state: dict[str, Any] = self.cycle.scope["state"]
        state[BODY_ERROR] = error
        self.cycle.keep_alive = False
        self.cycle.message_event.set()

    def _receive_complete(self) -> None:
        self._timer.end()
        super().on_message_complete()
        if not self._is_responding:
            self._slot.set_waiting()
            self._begin_keep_alive()

    # --- the response -----------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Continue with the bytes after the request."""
        super().on_response_complete()
        self.cycle.body = bytearray()  # drops what the app has not read
        if self._body is None:
            self._slot.set_waiting()
        self._advance()

    def _begin_keep_alive(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _reject(self, error: ApiError) -> None:
        """Respond and close: the begin of the next request is uncertain."""
        self._is_over = True
        self._timer.end()
        client = client_of(self.client[0]) if self.client else ""
        if self._limits.rejections.take(client):
            self.loop.call_later(self._limits.rejection_delay_s, self._send_error, error)
        else:
            self._send_error(error)

    def _send_error(self, error: ApiError) -> None:
        if self.transport.is_closing():
            return
        request_id = new_request_id()
        log.info("request_malformed", request=request_id, status=error.status)
        self.transport.write(encode_error(error, request_id))
        # Closing with unread bytes resets the connection before the client has read the response.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.hold(False)
        self.loop.call_later(self._limits.linger_s, self.transport.close)


def encode_error(error: ApiError, request_id: str) -> bytes:
    """Return the bytes of an error response after which the connection is closed."""
    body = msgspec.json.encode(error.body)
    headers = {
        **SECURITY_HEADERS,
        **error.headers,
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "x-request-id": request_id,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[error.status] + f"{lines}\r\n".encode() + body
