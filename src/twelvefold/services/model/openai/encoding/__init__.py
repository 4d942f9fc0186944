"""What the requests of both APIs have in common."""

from twelvefold.services.model.openai.encoding.alternation import (
    alternate_roles,
    split_system_messages,
)
from twelvefold.services.model.openai.encoding.optional_parts import (
    STRICT_SCHEMAS,
    OptionalPart,
    omit_parts,
    refused_parts,
)

__all__ = [
    "STRICT_SCHEMAS",
    "OptionalPart",
    "alternate_roles",
    "omit_parts",
    "refused_parts",
    "split_system_messages",
]
