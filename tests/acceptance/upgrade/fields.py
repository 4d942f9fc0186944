"""Prints the kinds of events and their fields that the release that is imported can read."""

import json

import msgspec

from twelvefold.core.events import KINDS, RequestOptions

if __name__ == "__main__":
    kinds = {**{name: kind for (name, _), kind in KINDS.items()}, "asked": RequestOptions}
    print(
        json.dumps(
            {
                name: [field.encode_name for field in msgspec.structs.fields(kind)]
                for name, kind in kinds.items()
            }
        )
    )
