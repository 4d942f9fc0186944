"""The statements of `queries.sql`, by the name in the comment above each."""

import re
from pathlib import Path

_TEXT = Path(__file__).with_name("queries.sql").read_text(encoding="utf-8")

SQL: dict[str, str] = {
    name: statement.strip()
    for name, statement in re.findall(r"^-- (\w+).*\n((?:(?!-- ).*\n)+)", _TEXT, re.MULTILINE)
}
