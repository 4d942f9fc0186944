"""The statements of `queries.sql`, by the name in the comment above each."""

import re
from pathlib import Path

_TEXT = Path(__file__).with_name("queries.sql").read_text(encoding="utf-8")
_, *_PARTS = re.split(r"^-- (\w+): .*\n", _TEXT, flags=re.MULTILINE)

SQL: dict[str, str] = {
    name: statement.strip() for name, statement in zip(_PARTS[::2], _PARTS[1::2], strict=True)
}
