"""HTTP/1.1 over uvicorn's protocol class: exact limits, one request at a time, an end to each wait.

The parser of httptools reads heads alone. `web.http.framing` finds where a head and a body end, so
that limits count the right bytes. Bytes behind a request wait until its answer is complete.
"""

import asyncio
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from twelvefold.observe.log import get_logger
from twelvefold.web.http.body_limit import BODY_ERROR
from twelvefold.web.http.client_address import client_of
from twelvefold.web.http.errors import ApiError
from twelvefold.web.http.middleware import SECURED, new_request_id
from twelvefold.web.http.server.connections import Place
from twelvefold.web.http.server.framing import MALFORMED, ChunkedBody, HeadReader, LengthBody
from twelvefold.web.http.server.receiving import HeldFlow, ReceiveLimits, ReceiveTimer
from twelvefold.web.http.server.request_head import body_of, check_head

log = get_logger(__name__)
AHEAD_BYTES = 65_536
"""What is read of the next requests while one is in progress, before reading stops."""


class Protocol(HttpToolsProtocol):
    """One connection.

    `place` is the connection's among all open ones. A request is answered before the next one on
    the connection is parsed, so the answers do not depend on how the bytes arrive.
    """

    def __init__(self, *args: object, place: Place, limits: ReceiveLimits, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]  # uvicorn's own parameters
        self._place = place
        self._limits = limits
        self._timer = ReceiveTimer(self.loop, limits, self._reads_nothing, self._close)
        self._rest = b""
        self._head = HeadReader(limits.framing)
        self._body: LengthBody | ChunkedBody | None = None
        self._head_error: ApiError | None = None
        self._discarded_bytes = 0
        self._is_over = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow: HeldFlow = HeldFlow(transport)
        self._place.close = transport.abort
        self._timer.begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.close()
        self._unset_keepalive_if_required()  # or it would keep all of this for as long
        self._place.leave()
        self._rest = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._unset_keepalive_if_required()
        self._rest += data
        self._advance()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _reads_nothing(self) -> bool:
        return self.flow.read_paused

    def _close(self) -> None:
        self._is_over = True
        self.transport.close()

    def _advance(self) -> None:
        """Parse what has arrived, up to the end of the request in progress."""
        while self._rest and not self._is_over and not self.transport.is_closing():
            if self._body is not None:
                self._read_body(self._body)
            elif self._is_answering:
                break
            else:
                self._read_head()
        if self._body is not None and not self._is_over:
            self._timer.begin_body()
        self.flow.hold(len(self._rest) > AHEAD_BYTES)

    # --- the head ---------------------------------------------------------------------------------

    def _read_head(self) -> None:
        self._rest = self._rest[self._head.skip_blank(self._rest) :]
        if self._head.error is None and self._rest:
            data, self._rest = self._rest, b""
            end = self._head.take(data)
            self._parse_head(data[:end])
            self._rest = data[end:]
        if error := self._head_error or self._head.error:
            self._refuse(error)
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
        """Start the request, if its head is in order."""
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
        self._unset_keepalive_if_required()  # a request that was sent ahead begins without data
        self._place.work()
        self._discarded_bytes = 0
        if self._body is None:
            self._receive_complete()

    def on_message_complete(self) -> None:
        """Nothing: the parser has read the head alone."""

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
        if self._is_answering:
            super().on_body(content)
            return
        self._discarded_bytes += len(content)
        if self._discarded_bytes > self._limits.discard_bytes:
            self._close()

    def _fail_body(self, error: ApiError) -> None:
        """Let the app answer, which may have read enough; then the connection ends."""
        self._is_over = True
        self._timer.end()
        if not self._is_answering:
            self.transport.close()
            return
        state: dict[str, Any] = self.cycle.scope["state"]
        state[BODY_ERROR] = error
        self.cycle.keep_alive = False
        self.cycle.message_event.set()

    def _receive_complete(self) -> None:
        self._timer.end()
        super().on_message_complete()
        if not self._is_answering:
            self._place.wait()
            self._begin_keep_alive()

    # --- the answer -------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """Go on with what has arrived behind the request."""
        super().on_response_complete()
        self.cycle.body = bytearray()  # what the app has not read is of no use any more
        if self._body is None:
            self._place.wait()
        self._advance()

    def _begin_keep_alive(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _refuse(self, error: ApiError) -> None:
        """Answer and close: where the next request begins is not certain."""
        self._is_over = True
        self._timer.end()
        client = client_of(self.client[0]) if self.client else ""
        if self._limits.refusals.take(client):
            self.loop.call_later(self._limits.refusal_delay_s, self._answer_refusal, error)
        else:
            self._answer_refusal(error)

    def _answer_refusal(self, error: ApiError) -> None:
        if self.transport.is_closing():
            return
        request_id = new_request_id()
        log.info("request_malformed", request=request_id, status=error.status)
        self.transport.write(whole_answer(error, request_id))
        # Closed with unread bytes, the connection would be reset before the client has read this.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.hold(False)
        self.loop.call_later(self._limits.linger_s, self.transport.close)


def whole_answer(error: ApiError, request_id: str) -> bytes:
    """An error as the bytes of an answer, after which the connection is closed."""
    body = msgspec.json.encode(error.body)
    headers = {
        **SECURED,
        **error.headers,
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "x-request-id": request_id,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[error.status] + f"{lines}\r\n".encode() + body
