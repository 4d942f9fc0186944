"""`.env` of the working directory, for local work: lines of KEY=VALUE.

A value may stand in quotes: in single ones it is taken as it is, in double ones `\\n`, `\\"` and
`\\\\` are read. `export ` in front, empty lines, and comments after ` #` are allowed. Nothing is
expanded, no line goes on in the next, and the environment always wins.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from twelvefold.config import variables
from twelvefold.errors import SettingsError

_LINE = re.compile(
    r"""(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*
        (?:'(?P<raw>[^']*)'|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^'"\s#](?:[^#]|(?<!\s)\#)*)?)
        \s*(?:(?<=\s)\#.*)?""",
    re.VERBOSE,
)
ALIKE = 0.87
"""As difflib measures it: one letter lost of eight is nearer, another word of four is not."""
_ESCAPES = {r"\n": "\n", r"\"": '"', r"\\": "\\"}


def read_dotenv(path: Path) -> dict[str, str]:
    """What the file sets; nothing if there is no file. Raises SettingsError with every bad line."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from error
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    matches = [(n, _LINE.fullmatch(line)) for n, line in numbered if line and line[0] != "#"]
    # The line itself may hold a secret, so only its number is told.
    problems = [f"{path}, line {n}: is not KEY=VALUE" for n, match in matches if not match]
    if problems:
        raise SettingsError(*problems)
    return {match["name"]: _value(match) for _, match in matches if match}


def misspelt(given: Iterable[str]) -> list[str]:
    """A sentence for each name that is nearly a setting's; others are somebody else's."""
    known = [variable.name for variable in variables()]
    unknown = [name for name in given if name not in known]
    if not unknown:
        return []
    from difflib import get_close_matches

    near = {name: get_close_matches(name, known, n=1, cutoff=ALIKE) for name in unknown}
    return [f"{name} is not known; {close[0]} is meant?" for name, close in near.items() if close]


def _value(match: re.Match[str]) -> str:
    if match["quoted"] is not None:
        return re.sub(r"\\.", lambda found: _ESCAPES.get(found[0], found[0]), match["quoted"])
    return match["raw"] or (match["bare"] or "").rstrip()
