"""What a student wants, by the words of one message and by what was on offer before it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from twelvefold.services.model.demo.conversation import Talk, Told, rows_of

Kind = Literal[
    "enrol", "drop", "list", "details", "search", "which", "help", "greet", "bye", "no", "yes"
]


@dataclass(frozen=True, slots=True)
class Wish:
    """`code` is of a course or section, `words` are to search for; `flexible`: another will do."""

    kind: Kind
    code: str = ""
    words: str = ""
    highest_usd: float | None = None
    flexible: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that the student was shown, and may point at.

    `asked`: whoever points at it wants it. `nearest`: the first of its kind is what a yes means.
    """

    code: str
    price_usd: float
    asked: bool = False
    nearest: bool = False


WHICH_TO_DROP = "Which of these shall I drop?"
_LISTS = {
    "find_courses": "courses",
    "find_alternatives": "alternatives",
    "my_enrolments": "enrolments",
}
_KINDS: tuple[tuple[Kind, str], ...] = (
    ("drop", r"\b(drop|cancel|withdraw|unenroll?|unregister|leave|quit|remove me|take me out)\b"),
    ("list", r"\b(am i (enrolled|in|taking|signed|registered)|do i (take|have))\b"),
    ("list", r"\bmy (current )?(courses|classes|enroll?ments?|schedule|timetable)\b"),
    ("help", r"^\W*help\W*$|\bwhat (can (you|i)|do you) do\b|\b(who|what) are you\b"),
    ("help", r"\bhow does (this|it) work\b"),
    ("no", r"^\W*(no|nope|not now|never ?mind|stop)\b"),
    ("enrol", r"\b(sign(ing)? (me |us )?up|enroll?(ing)?|register|join|(add|put) me|get me in)\b"),
    ("enrol", r"\b(take|book|reserve) (me|it|that|this|the|whatever|a seat|[a-z]+[- ]?\d)"),
    ("bye", r"^\W*(thanks|thank you|bye|goodbye|cheers|that's all)\b"),
    ("yes", r"^\W*(yes|yeah|yep|sure|ok(ay)?|please do|go ahead|do (it|that)|fine|great)\b"),
    # Nothing of that is a course to look for.
    ("greet", r"^\W*(please )?say (hi|hello|good (morning|afternoon|evening))\b"),
    ("help", r"^\W*(please )?(say|count|repeat|reply|answer|spell|sing|translate)\b"),
    ("help", r"^\W*(what('s| is) my|who am i|my name is)\b"),
)
_THIS = re.compile(r"\b(it|that|this|them)\b")
_WANT = re.compile(r"\b(want|i'll have|would like|i'd like|give me)\b")
_DETAILS = re.compile(r"\b(details?|how much|when|what is|what's|more|tell me|cost|look up)\b")
_GREETING = re.compile(r"^\W*(hi|hello|hey|good (morning|afternoon|evening))\b")
_FLEXIBLE = re.compile(
    r"\bif (it|that|this)('s| is)? (full|closed|taken|gone|not)\b|\b(if not|otherwise|instead)\b|"
    r"\bor (something|anything|whatever|another|an alternative)\b|\b(similar|closest|nearest)\b"
)
_MONEY = r"[$€£]?\s*(\d+(?:\.\d+)?)(?![-\w])"
_PRICES = (
    re.compile(
        r"\b(?:cheaper than|less than|under|below|at most|up to|(?:not|no) more than) " + _MONEY
    ),
    re.compile(r"\b(?:max|maximum|budget)(?: of| is|:)? " + _MONEY),
    re.compile(_MONEY + r" ?(?:dollars?|usd|euros?|[$€£])? (?:or less|at most|max|maximum|tops)\b"),
)
_CODE = re.compile(
    r"\b([a-z]{2,5}(?:/[a-z]{2,3})?)([- ]?)(\d{2,3}[a-z]?(?:-[a-z0-9]{1,3})?)(?![-\w])"
)
_SECTION_ID = re.compile(r"\b\d{6,}\b")
_NO_DEPARTMENT = {
    *("about", "and", "at", "below", "by", "cost", "for", "from", "have", "in", "is", "level"),
    *("max", "most", "of", "only", "or", "over", "pay", "the", "than", "to", "under", "up", "with"),
}
_ORDINALS = re.compile(r"\b(?:the )?(first|second|third|fourth|last|cheapest)\b(?! time)")
_FILLERS = {
    *("about", "add", "afternoon", "all", "also", "alternative", "am", "an", "and", "another"),
    *("any", "anything", "are", "as", "at", "be", "begin", "below", "book", "budget", "but"),
    *("can", "cheap", "cheaper", "class", "classes", "cost", "costs", "could", "course"),
    *("courses", "details", "do", "does", "dollar", "dollars", "else", "end", "ends", "enrol"),
    *("enroll", "euro", "euros", "evening", "find", "for", "from", "get", "give", "good"),
    *("have", "hello", "help", "hey", "hi", "how", "if", "in", "interested", "into", "is"),
    *("it", "join", "know", "learn", "less", "let", "like", "ll", "long", "looking", "many"),
    *("max", "me", "more", "morning", "most", "much", "my", "need", "not", "now", "of"),
    *("offer", "ok", "okay", "on", "one", "or", "our", "please", "price", "put", "really"),
    *("register", "search", "show", "sign", "signing", "so", "some", "something", "start"),
    *("starts", "study", "sure", "take", "teach", "tell", "than", "that", "the", "them"),
    *("then", "there", "these", "this", "to", "under", "up", "us", "usd", "want", "we", "what"),
    *("when", "which", "with", "would", "yes", "you", "your"),
}


def understood(talk: Talk) -> Wish:
    """The wish in what was said last."""
    said = talk.said.lower().replace("\u2019", "'")
    offers = on_offer(talk.before)
    wish = Wish(
        kind=next((kind for kind, pattern in _KINDS if re.search(pattern, said)), "search"),
        code=_code(said) or _pointed_at(said, offers) or _titled(said, talk.before),
        words=_keywords(said),
        highest_usd=_price(said, offers),
        flexible=bool(_FLEXIBLE.search(said)),
    )
    if wish.code and talk.asked.startswith(WHICH_TO_DROP):
        return replace(wish, kind="drop")
    match wish.kind:
        case "search":
            return _searched(wish, said, talk.before, offers)
        case "enrol" | "yes":
            return _chosen(wish, offers)
        case "drop":
            return wish if wish.code else replace(wish, code=_last_enrolled(talk.before))
        case _:
            return wish


def _searched(wish: Wish, said: str, before: Sequence[Told], offers: Sequence[Offer]) -> Wish:
    """What it may be that has no verb that we know."""
    if wish.code:
        asked_for = _WANT.search(said) or any(one.code == wish.code and one.asked for one in offers)
        return replace(wish, kind="enrol" if asked_for else "details")
    if wish.words:
        return wish
    if wish.highest_usd is not None:
        return replace(wish, words=_last_search(before))
    if _DETAILS.search(said) and _THIS.search(said):
        code = offers[0].code if offers else _last_enrolled(before)
        return replace(wish, kind="details", code=code) if code else replace(wish, kind="which")
    return replace(wish, kind="greet" if _GREETING.search(said) else "help")


def _chosen(wish: Wish, offers: Sequence[Offer]) -> Wish:
    """Which of the offers a yes means: the one that was asked about, if there is one."""
    if wish.code or (wish.words and wish.kind == "enrol"):
        return replace(wish, kind="enrol")
    if len(offers) == 1 or (offers and offers[0].nearest):
        return replace(wish, kind="enrol", code=offers[0].code)
    return replace(wish, kind="which")


def on_offer(before: Sequence[Told]) -> tuple[Offer, ...]:
    """What the student was shown last and has not taken."""
    for told in reversed(before):
        if told.tool in ("enrol", "drop") and told.result:
            return ()
        if told.tool == "get_course" and told.result:
            return _looked_up(told.result)
        if told.tool in _LISTS and told.result:
            near = told.tool == "find_alternatives"
            return tuple(_offer(row, near, near) for row in told.rows(_LISTS[told.tool]))
    return ()


def _looked_up(course: Mapping[str, Any]) -> tuple[Offer, ...]:
    sections = with_seats(course)
    if len(sections) > 1:
        return tuple(_offer(section, asked=True) for section in sections)
    shown = rows_of(course, "sections")
    # Of several without a seat a yes means any, of one it means that one.
    return (_offer(shown[0] if len(shown) == 1 else course, asked=True),)


def with_seats(course: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The sections of a looked-up course in which somebody can be enrolled."""
    sections = rows_of(course, "sections")
    return [s for s in sections if s.get("status") == "open" and _number(s.get("seats_left")) > 0]


def _offer(row: Mapping[str, Any], asked: bool = False, nearest: bool = False) -> Offer:
    code = row.get("section") or row.get("code") or row.get("course")
    return Offer(str(code), _number(row.get("price_usd")), asked, nearest)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _code(said: str) -> str:
    for match in _CODE.finditer(said):
        department, between, number = match.groups()
        if between == "-" or department not in _NO_DEPARTMENT:
            return f"{department}-{number}".upper()
    section = _SECTION_ID.search(said)
    return section[0] if section else ""


def _pointed_at(said: str, offers: Sequence[Offer]) -> str:
    match = _ORDINALS.search(said)
    if not match or not offers:
        return ""
    if match[1] == "cheapest":
        return min(offers, key=lambda offer: offer.price_usd).code
    if match[1] == "last":
        return offers[-1].code
    place = ("first", "second", "third", "fourth").index(match[1])
    return offers[place].code if place < len(offers) else ""


def _titled(said: str, before: Sequence[Told]) -> str:
    for told in reversed(before):
        for title, code in _titles(told):
            if title and title.lower() in said:
                return code
    return ""


def _titles(told: Told) -> Iterator[tuple[str, str]]:
    rows = told.rows(_LISTS[told.tool]) if told.tool in _LISTS else [told.result]
    for row in rows:
        code = row.get("code") or row.get("course") or row.get("section") or ""
        yield str(row.get("title", "")), str(code)


def _keywords(said: str) -> str:
    flexible = _FLEXIBLE.search(said)
    wanted = said[: flexible.start()] if flexible else said
    words = re.findall(r"[^\W\d_]+", _CODE.sub(" ", wanted).replace("'", " "))
    kept = [word for word in words if len(word) > 1 and word not in _FILLERS]
    # Learning something is no topic, machine learning is one.
    return " ".join(dict.fromkeys(kept[1:] if kept[:1] == ["learning"] else kept))


def _price(said: str, offers: Sequence[Offer]) -> float | None:
    for pattern in _PRICES:
        if match := pattern.search(said):
            return float(match[1])
    if "cheaper" in said and offers:
        return max(min(offer.price_usd for offer in offers) - 1, 0)
    return None


def _last_search(before: Sequence[Told]) -> str:
    searches = [told for told in before if told.tool == "find_courses"]
    return str(searches[-1].arguments.get("text") or "") if searches else ""


def _last_enrolled(before: Sequence[Told]) -> str:
    for told in reversed(before):
        if told.tool == "drop" and told.result:
            return ""
        if told.tool == "enrol" and told.result:
            return str(told.result.get("course", ""))
    return ""
