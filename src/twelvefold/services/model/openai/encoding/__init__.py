"""What the requests of both APIs have in common."""

from twelvefold.services.model.openai.encoding.alternation import (
    alternate_roles,
    split_system_messages,
)
from twelvefold.services.model.openai.encoding.encoded_items import (
    EncodedItems,
    encode_elements,
    encode_known,
)
from twelvefold.services.model.openai.encoding.optional_parts import (
    STRICT_SCHEMAS,
    OptionalPart,
    build_body,
    refused_parts,
)

__all__ = [
    "STRICT_SCHEMAS",
    "EncodedItems",
    "OptionalPart",
    "alternate_roles",
    "build_body",
    "encode_elements",
    "encode_known",
    "refused_parts",
    "split_system_messages",
]
