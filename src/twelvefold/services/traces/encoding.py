"""Spans in the wire format of OTLP, which is protobuf. Pure; imports no OpenTelemetry.

The encoder of the SDK needs an object for each span, attribute and value, which takes twenty times
as long. Source: opentelemetry-proto, `trace/v1/trace.proto` and `common/v1/common.proto`.
"""

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct

from twelvefold.observe.span_attributes import Attribute, Attributes

SPAN_KINDS = {"internal": 1, "client": 3}
_VARINT, _FIXED64, _BYTES = 0, 1, 2
_MAX_CACHED_CHARS = 128
_HAS_IS_REMOTE = b"\x85\x01" + (0x100).to_bytes(4, "little")
"""Field 16, flags: whether the parent is remote is known, and it is not."""
_ERROR = b"\x7a\x02\x18\x02"
"""Field 15, status: its code is ERROR."""
_UNSET = b"\x7a\x00"
_kind_and_times = Struct("<BBBQBQ").pack
_double = Struct("<d").pack


def encode_span(
    *,
    trace: str,
    span: str,
    parent: str | None,
    name: str,
    kind: str,
    start_ns: int,
    end_ns: int,
    attributes: Attributes,
    dropped: int = 0,
    is_error: bool = False,
) -> bytes:
    """Return a message `Span`. Ids are hex digits; `dropped` attributes are above a limit."""
    parts = [b"\x0a\x10", bytes.fromhex(trace), b"\x12\x08", bytes.fromhex(span)]
    if parent:
        parts += (b"\x22\x08", bytes.fromhex(parent))
    parts += (
        field(5, _utf8(name)),
        _kind_and_times(0x30, SPAN_KINDS[kind], 0x39, start_ns, 0x41, end_ns),
    )
    parts += [_attribute(key, value) for key, value in attributes.items()]
    if dropped:
        parts.append(_tag(10, _VARINT) + _varint(dropped))
    parts += (_ERROR if is_error else _UNSET, _HAS_IS_REMOTE)
    return b"".join(parts)


def encode_request(resource: bytes, scope: bytes, spans: Iterable[bytes]) -> bytes:
    """Return an `ExportTraceServiceRequest` with these spans.

    `resource` is a `ResourceSpans` and `scope` a `ScopeSpans`, without spans.
    """
    scoped = scope + b"".join([field(2, span) for span in spans])
    return field(1, resource + field(2, scoped))


def field(number: int, data: bytes) -> bytes:
    """Return a field of bytes, a text or a message."""
    return _tag(number, _BYTES) + _varint(len(data)) + data


def _attribute(key: str, value: Attribute) -> bytes:
    if isinstance(value, str) and len(value) > _MAX_CACHED_CHARS:
        return _encode_attribute(key, value)
    return _cached_attribute(key, value)


def _encode_attribute(key: str, value: Attribute) -> bytes:
    return field(9, field(1, _utf8(key)) + field(2, _any_value(value)))


# Most spans have the same names, models and tools as others. Typed: True and 1 are equal.
_cached_attribute = lru_cache(2_048, typed=True)(_encode_attribute)


def _any_value(value: Attribute) -> bytes:
    match value:
        case str():
            return field(1, _utf8(value))
        case bool():
            return _tag(2, _VARINT) + _varint(value)
        case int():
            return _tag(3, _VARINT) + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
        case float():
            return _tag(4, _FIXED64) + _double(value)
        case _:
            return field(5, b"".join([field(1, _any_value(one)) for one in value]))


def _utf8(text: str) -> bytes:
    return text.encode(errors="replace")  # half of a surrogate pair would fail the whole batch


def _tag(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
