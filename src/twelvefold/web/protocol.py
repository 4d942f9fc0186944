"""HTTP/1.1 as uvicorn has it, with an end to every wait, and an envelope for what is no request."""

import asyncio

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from twelvefold.observe.log import get_logger
from twelvefold.web.edge import SECURED, new_request_id
from twelvefold.web.faults import ApiError

log = get_logger(__name__)
RECEIVE_S = 60.0
"""How long a client may take to send a request."""
HEAD_BYTES = 65_536
DISCARD_BYTES = 256 * 1024 * 1024
"""What is still read of a refused body, for clients that listen only when all is sent."""
MALFORMED = ApiError(400, "that is no HTTP request", code="malformed_request")
_FRAMING = (b"content-length", b"transfer-encoding")


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 with an end to every wait, and an envelope for what is no request at all."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # uvicorn's to know
        self._receiving: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self._discarded = 0
        self._refused = False
        self._again = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._begin_receiving()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_receiving()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        # What comes between two requests is no reason to wait for the next one for ever.
        if self.cycle is None or self.cycle.response_complete:
            self._begin_receiving()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(MALFORMED)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self._refused:
                self._refuse(ApiError(431, f"the headers are longer than {HEAD_BYTES} bytes"))

    def _stay(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 with a client that would rather have another protocol.

        Java's own client asks for HTTP/2 with every first request. The parser takes what follows
        such a request for that protocol, and its body with it; so another one reads the body.
        Source: RFC 9110, section 7.8: a server may ignore the wish.
        """
        framing = [
            f"{name.decode('latin-1')}: {value.decode('latin-1')}\r\n"
            for name, value in self.headers
            if name in _FRAMING
        ]
        self.parser = httptools.HttpRequestParser(self)
        if framing:
            self.cycle.more_body = True
            self._begin_receiving()
            self._again = True
            try:
                head = f"POST / HTTP/1.1\r\n{''.join(framing)}\r\n"
                self.parser.feed_data(head.encode("latin-1"))
            except httptools.HttpParserError:
                self._refuse(MALFORMED)
                return
            finally:
                self._again = False
        if rest:
            self.data_received(rest)

    def on_message_begin(self) -> None:
        if not self._again:
            super().on_message_begin()
            self._in_head, self._head_bytes = True, 0
            self._begin_receiving()

    def on_url(self, url: bytes) -> None:
        if not self._again:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        # What comes behind a body is a trailer, which nobody asked for and nothing keeps.
        if not self._again and self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if not self._again:
            self._in_head = False
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > DISCARD_BYTES:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._end_receiving()
        super().on_message_complete()

    def _begin_receiving(self) -> None:
        if self._receiving is None:
            self._receiving = self.loop.call_later(RECEIVE_S, self._too_slow)

    def _end_receiving(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _too_slow(self) -> None:
        self._receiving = None
        self.transport.close()

    def _refuse(self, error: ApiError) -> None:
        """Answer and close: what comes next on this connection is anybody's guess."""
        self._refused = True
        request_id = new_request_id()
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            if cycle is not None:
                cycle.disconnected = True  # what the app has to say comes too late
            self.transport.write(_whole_answer(error, request_id))
        log.info("request_malformed", request=request_id, status=error.status)
        self.transport.close()


def _whole_answer(error: ApiError, request_id: str) -> bytes:
    body = msgspec.json.encode(error.body)
    headers = {
        **SECURED,
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        "x-request-id": request_id,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[error.status] + f"{lines}\r\n".encode() + body
