"""Reads `.env` in the working directory, for local work: lines of KEY=VALUE.

A value may be quoted: single quotes keep it as it is, in double quotes `\\n`, `\\"` and `\\\\` are
escapes. `export ` before the name, empty lines, and comments after ` #` are allowed. There is no
expansion and no continuation line, and the environment takes precedence.
"""

import re
from pathlib import Path

from twelvefold.errors import SettingsError

_LINE = re.compile(
    r"""(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*
        (?:'(?P<raw>[^']*)'|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^'"\s#](?:[^#]|(?<!\s)\#)*)?)
        \s*(?:(?<=\s)\#.*)?""",
    re.VERBOSE,
)
_ESCAPES = {r"\n": "\n", r"\"": '"', r"\\": "\\"}


def read_dotenv(path: Path) -> dict[str, str]:
    """Return the variables of the file, if it exists. Raises SettingsError with every bad line."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot read the file: {error}") from error
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    matches = [(n, _LINE.fullmatch(line)) for n, line in numbered if line and line[0] != "#"]
    # The line may hold a secret, so the message has only its number.
    problems = [f"{path}, line {n}: not KEY=VALUE" for n, match in matches if not match]
    if problems:
        raise SettingsError(*problems)
    return {match["name"]: _value(match) for _, match in matches if match}


def _value(match: re.Match[str]) -> str:
    if match["quoted"] is not None:
        return re.sub(r"\\.", lambda found: _ESCAPES.get(found[0], found[0]), match["quoted"])
    return match["raw"] or (match["bare"] or "").rstrip()
