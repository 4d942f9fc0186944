r"""Makes text of others safe to show: escapes what is invisible or acts on what stands beside it.

Such are control, format, private, unassigned and surrogate characters, every space but U+0020,
variation selectors, fillers, and combining marks without a letter or too many of them. Terminals
and logs use this module, the page `web/page/static/escape.js`, which has the same rules.
"""

import re
import unicodedata
from collections.abc import Callable

MARKS = 4
"""Combining marks that one character may carry: enough for any script, too few to cover a line."""
_INVISIBLE = frozenset(
    map(
        chr,
        (
            # Default_Ignorable_Code_Point that Python takes for printable. Source: Unicode 16.0.
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
            *(0x180B, 0x180C, 0x180D, 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)),
            # Blank all the same: a braille pattern without dots, a null note head.
            *(0x2800, 0x1D159),
        ),
    )
)
_JOINERS = frozenset("\u200c\u200d\ufe0f")
"""Zero-width joiners and the emoji style selector, which ordinary texts need."""
_NOT_ASCII = re.compile(r"[^\x20-\x7e]+")


def escape(text: str) -> str:
    r"""The text on one line. Escapes are Python's: `\n`, `\x1b`, `\u202e`, `\U000e0041`."""
    return text if text.isascii() and text.isprintable() else Escaper().feed(text)


def escape_prose(text: str) -> str:
    """A text of several lines: see `prose_escaper`."""
    return prose_escaper().feed(text)


def prose_escaper() -> "Escaper":
    """For a text of several lines that comes in pieces.

    Line breaks and tabs stay; so do joiners and the emoji style directly behind a letter, mark or
    symbol.
    """
    return Escaper(keep="\n\t", joiners=True)


def escape_json(text: str) -> str:
    """JSON of the same value, in which each such character is written as JSON's own escape."""
    return Escaper(keep="\n\t\r", escaped=_json_escape).feed(text)


def is_visible(character: str) -> bool:
    """Whether a character can be seen; a combining mark may still need a letter to stand on."""
    return character.isprintable() and character not in _INVISIBLE


def _python_escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


class Escaper:
    """Escapes a text that may come in pieces; `keep` are characters that stay as they are."""

    def __init__(
        self,
        *,
        keep: str = "",
        joiners: bool = False,
        escaped: Callable[[str], str] = _python_escape,
    ) -> None:
        self._keep = keep
        self._joiners = _JOINERS if joiners else frozenset[str]()
        self._escaped = escaped
        self._room = 0
        """Combining marks that may follow."""

    def feed(self, text: str) -> str:
        """The next piece, escaped."""
        shown = _NOT_ASCII.sub(self._run, text)
        if text and " " <= text[-1] <= "~":
            self._room = _room_behind(text[-1])
        return shown

    def _run(self, run: re.Match[str]) -> str:
        if run.start():
            self._room = _room_behind(run.string[run.start() - 1])
        return "".join(map(self._shown, run.group()))

    def _shown(self, character: str) -> str:
        if character in self._keep:
            self._room = 0
        elif self._room and (_is_mark(character) or character in self._joiners):
            self._room -= 1
        elif is_visible(character) and not _is_mark(character):
            self._room = _room_behind(character)
        else:
            self._room = 0
            return self._escaped(character)
        return character


def _is_mark(character: str) -> bool:
    return is_visible(character) and unicodedata.category(character)[0] == "M"


def _room_behind(character: str) -> int:
    """How many combining marks may stand on a character: none on a space or on punctuation."""
    if character.isascii():
        return MARKS if character.isalnum() else 0
    return MARKS if unicodedata.category(character)[0] in "LNS" else 0
