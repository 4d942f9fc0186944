r"""Escapes untrusted text: invisible characters, and those that affect their neighbours.

These are control, format, private, unassigned and surrogate characters, all spaces except U+0020,
variation selectors, fillers, and combining marks without a letter or in excess. Terminals and logs
use this module; the page uses `web/page/static/escape.js`, which has the same rules.
"""

import re
import unicodedata
from collections.abc import Callable

MAX_MARKS = 4
"""Combining marks per character: enough for any script, too few to cover another line."""
_INVISIBLE = frozenset(
    map(
        chr,
        (
            # Default_Ignorable_Code_Point that Python considers printable. Source: Unicode 16.0.
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
            *(0x180B, 0x180C, 0x180D, 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)),
            # Blank: a braille pattern without dots, a null note head.
            *(0x2800, 0x1D159),
        ),
    )
)
_JOINERS = frozenset("\u200c\u200d\ufe0f")
"""Zero-width joiners and the emoji style selector, which ordinary text needs."""
_NOT_ASCII = re.compile(r"[^\x20-\x7e]+")


def escape(text: str) -> str:
    r"""Return the text on one line, with Python's escapes: `\n`, `\x1b`, `\u202e`, `\U000e0041`."""
    return text if text.isascii() and text.isprintable() else Escaper().feed(text)


def escape_prose(text: str) -> str:
    """Return a text of several lines escaped as by `prose_escaper`."""
    return prose_escaper().feed(text)


def prose_escaper() -> "Escaper":
    """Return an escaper for a text of several lines that arrives in pieces.

    It keeps line breaks and tabs, and joiners and the emoji style after a letter, mark or symbol.
    """
    return Escaper(keep="\n\t", joiners=True)


def escape_json(text: str) -> str:
    """Return JSON of the same value, with JSON's escapes."""
    return Escaper(keep="\n\t\r", escape_character=_json_escape).feed(text)


def is_visible(character: str) -> bool:
    """Return whether a character is visible. A combining mark may still need a letter."""
    return character.isprintable() and character not in _INVISIBLE


def _python_escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class Escaper:
    """Escapes a text that may arrive in pieces, except for the characters of `keep`."""

    def __init__(
        self,
        *,
        keep: str = "",
        joiners: bool = False,
        escape_character: Callable[[str], str] = _python_escape,
    ) -> None:
        self._keep = keep
        self._joiners = _JOINERS if joiners else frozenset[str]()
        self._escape_character = escape_character
        self._marks_left = 0
        """Combining marks that may follow."""

    def feed(self, text: str) -> str:
        """Return the next piece, escaped."""
        escaped = _NOT_ASCII.sub(self._escape_run, text)
        if text and " " <= text[-1] <= "~":
            self._marks_left = _marks_after(text[-1])
        return escaped

    def _escape_run(self, run: re.Match[str]) -> str:
        if run.start():
            self._marks_left = _marks_after(run.string[run.start() - 1])
        return "".join(map(self._escape, run.group()))

    def _escape(self, character: str) -> str:
        if character in self._keep:
            self._marks_left = 0
        elif self._marks_left and (_is_mark(character) or character in self._joiners):
            self._marks_left -= 1
        elif is_visible(character) and not _is_mark(character):
            self._marks_left = _marks_after(character)
        else:
            self._marks_left = 0
            return self._escape_character(character)
        return character


def _is_mark(character: str) -> bool:
    return is_visible(character) and unicodedata.category(character)[0] == "M"


def _marks_after(character: str) -> int:
    """Return how many combining marks may follow: none after a space or punctuation."""
    if character.isascii():
        return MAX_MARKS if character.isalnum() else 0
    return MAX_MARKS if unicodedata.category(character)[0] in "LNS" else 0
