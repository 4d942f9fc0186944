"""Parses the intent of a student's message, with the courses that were shown before it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from msgspec import Struct

from twelvefold.services.model.demo.conversation import CallResult, Conversation, rows_of

IntentKind = Literal[
    "enrol", "drop", "list", "details", "search", "which", "help", "greet", "bye", "no", "yes"
]


@dataclass(frozen=True, slots=True)
class Intent:
    """The intent of a message. `code` is that of a course or section, `words` are search words."""

    kind: IntentKind
    code: str = ""
    words: str = ""
    highest_usd: float | None = None
    accepts_alternative: bool = False


class Offer(Struct, frozen=True):
    """A course or section that the student was shown.

    `enrols_if_chosen`: choosing it is an intent to enrol. `is_default`: a yes means the first one.
    """

    code: str
    price_usd: float
    enrols_if_chosen: bool = False
    is_default: bool = False


WHICH_TO_DROP = "Which of these shall I drop?"
_RESULT_LISTS = {
    "find_courses": "courses",
    "find_alternatives": "alternatives",
    "my_enrolments": "enrolments",
}
_INTENT_PATTERNS: tuple[tuple[IntentKind, str], ...] = (
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
    # These are not searches for a course.
    ("greet", r"^\W*(please )?say (hi|hello|good (morning|afternoon|evening))\b"),
    ("help", r"^\W*(please )?(say|count|repeat|reply|answer|spell|sing|translate)\b"),
    ("help", r"^\W*(what('s| is) my|who am i|my name is)\b"),
)
_REFERENCE = re.compile(r"\b(it|that|this|them)\b")
_WANT = re.compile(r"\b(want|i'll have|would like|i'd like|give me)\b")
_DETAILS = re.compile(r"\b(details?|how much|when|what is|what's|more|tell me|cost|look up)\b")
_GREETING = re.compile(r"^\W*(hi|hello|hey|good (morning|afternoon|evening))\b")
_ALTERNATIVE = re.compile(
    r"\bif (it|that|this)('s| is)? (full|closed|taken|gone|not)\b|\b(if not|otherwise|instead)\b|"
    r"\bor (something|anything|whatever|another|an alternative)\b|\b(similar|closest|nearest)\b"
)
_AMOUNT = r"[$€£]?\s*(\d+(?:\.\d+)?)(?![-\w])"
_MAX_PRICE_PATTERNS = (
    re.compile(
        r"\b(?:cheaper than|less than|under|below|at most|up to|(?:not|no) more than) " + _AMOUNT
    ),
    re.compile(r"\b(?:max|maximum|budget)(?: of| is|:)? " + _AMOUNT),
    re.compile(
        _AMOUNT + r" ?(?:dollars?|usd|euros?|[$€£])? (?:or less|at most|max|maximum|tops)\b"
    ),
)
_CODE_PATTERN = re.compile(
    r"\b([a-z]{2,5}(?:/[a-z]{2,3})?)([- ]?)(\d{2,3}[a-z]?(?:-[a-z0-9]{1,3})?)(?![-\w])"
)
_SECTION_ID = re.compile(r"\b\d{6,}\b")
_NOT_DEPARTMENTS = {
    *("about", "and", "at", "below", "by", "cost", "for", "from", "have", "in", "is", "level"),
    *("max", "most", "of", "only", "or", "over", "pay", "the", "than", "to", "under", "up", "with"),
}
_ORDINALS = re.compile(r"\b(?:the )?(first|second|third|fourth|last|cheapest)\b(?! time)")
_STOP_WORDS = {
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


def parse_intent(conversation: Conversation) -> Intent:
    """Parse the intent of the last message."""
    text = conversation.user_text.lower().replace("\u2019", "'")
    earlier = conversation.earlier_results
    offers = current_offers(earlier)
    kinds = (kind for kind, pattern in _INTENT_PATTERNS if re.search(pattern, text))
    intent = Intent(
        kind=next(kinds, "search"),
        code=_find_code(text) or _code_by_position(text, offers) or _code_by_title(text, earlier),
        words=_keywords(text),
        highest_usd=_max_price(text, offers),
        accepts_alternative=bool(_ALTERNATIVE.search(text)),
    )
    if intent.code and conversation.model_text.startswith(WHICH_TO_DROP):
        return replace(intent, kind="drop")
    match intent.kind:
        case "search":
            return _classify_search(intent, text, earlier, offers)
        case "enrol" | "yes":
            return _resolve_choice(intent, offers)
        case "drop":
            code = intent.code or _last_enrolled_code(earlier)
            return replace(intent, code=code)
        case _:
            return intent


def _classify_search(
    intent: Intent, text: str, earlier: Sequence[CallResult], offers: Sequence[Offer]
) -> Intent:
    """Return the intent of a message without a known verb."""
    if intent.code:
        is_chosen = any(one.code == intent.code and one.enrols_if_chosen for one in offers)
        return replace(intent, kind="enrol" if is_chosen or _WANT.search(text) else "details")
    if intent.words:
        return intent
    if intent.highest_usd is not None:
        return replace(intent, words=_last_search_text(earlier))
    if _DETAILS.search(text) and _REFERENCE.search(text):
        code = offers[0].code if offers else _last_enrolled_code(earlier)
        return replace(intent, kind="details", code=code) if code else replace(intent, kind="which")
    return replace(intent, kind="greet" if _GREETING.search(text) else "help")


def _resolve_choice(intent: Intent, offers: Sequence[Offer]) -> Intent:
    """Return the intent with the offer that a yes refers to."""
    if intent.code or (intent.words and intent.kind == "enrol"):
        return replace(intent, kind="enrol")
    if len(offers) == 1 or (offers and offers[0].is_default):
        return replace(intent, kind="enrol", code=offers[0].code)
    return replace(intent, kind="which")


def current_offers(earlier: Sequence[CallResult]) -> tuple[Offer, ...]:
    """Return what the student was last shown, unless an enrolment or a drop followed."""
    for call in reversed(earlier):
        if call.tool in ("enrol", "drop") and call.result:
            return ()
        if call.tool == "get_course" and call.result:
            return _course_offers(call.result)
        if call.tool in _RESULT_LISTS and call.result:
            near = call.tool == "find_alternatives"
            return tuple(_offer(row, near, near) for row in call.rows(_RESULT_LISTS[call.tool]))
    return ()


def _course_offers(course: Mapping[str, Any]) -> tuple[Offer, ...]:
    sections = open_sections(course)
    if len(sections) > 1:
        return tuple(_offer(section, enrols_if_chosen=True) for section in sections)
    shown = rows_of(course, "sections")
    # A yes to several full sections means any of them.
    return (_offer(shown[0] if len(shown) == 1 else course, enrols_if_chosen=True),)


def open_sections(course: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the sections of a course that are open and have seats."""
    sections = rows_of(course, "sections")
    return [s for s in sections if s.get("status") == "open" and _number(s.get("seats_left")) > 0]


def _offer(
    row: Mapping[str, Any], enrols_if_chosen: bool = False, is_default: bool = False
) -> Offer:
    code = row.get("section") or row.get("code") or row.get("course")
    return Offer(str(code), _number(row.get("price_usd")), enrols_if_chosen, is_default)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _find_code(text: str) -> str:
    for match in _CODE_PATTERN.finditer(text):
        department, between, number = match.groups()
        if between == "-" or department not in _NOT_DEPARTMENTS:
            return f"{department}-{number}".upper()
    section = _SECTION_ID.search(text)
    return section[0] if section else ""


def _code_by_position(text: str, offers: Sequence[Offer]) -> str:
    match = _ORDINALS.search(text)
    if not match or not offers:
        return ""
    if match[1] == "cheapest":
        return min(offers, key=lambda offer: offer.price_usd).code
    if match[1] == "last":
        return offers[-1].code
    index = ("first", "second", "third", "fourth").index(match[1])
    return offers[index].code if index < len(offers) else ""


def _code_by_title(text: str, earlier: Sequence[CallResult]) -> str:
    for call in reversed(earlier):
        for title, code in _titles(call):
            if title and title.lower() in text:
                return code
    return ""


def _titles(call: CallResult) -> Iterator[tuple[str, str]]:
    rows = call.rows(_RESULT_LISTS[call.tool]) if call.tool in _RESULT_LISTS else [call.result]
    for row in rows:
        code = row.get("code") or row.get("course") or row.get("section") or ""
        yield str(row.get("title", "")), str(code)


def _keywords(text: str) -> str:
    alternative = _ALTERNATIVE.search(text)
    wanted = text[: alternative.start()] if alternative else text
    words = re.findall(r"[^\W\d_]+", _CODE_PATTERN.sub(" ", wanted).replace("'", " "))
    kept = [word for word in words if len(word) > 1 and word not in _STOP_WORDS]
    # "learning X" means the topic X, but "machine learning" is a topic.
    return " ".join(dict.fromkeys(kept[1:] if kept[:1] == ["learning"] else kept))


def _max_price(text: str, offers: Sequence[Offer]) -> float | None:
    for pattern in _MAX_PRICE_PATTERNS:
        if match := pattern.search(text):
            return float(match[1])
    if "cheaper" in text and offers:
        return max(min(offer.price_usd for offer in offers) - 1, 0)
    return None


def _last_search_text(earlier: Sequence[CallResult]) -> str:
    searches = [call for call in earlier if call.tool == "find_courses"]
    return str(searches[-1].arguments.get("text") or "") if searches else ""


def _last_enrolled_code(earlier: Sequence[CallResult]) -> str:
    for call in reversed(earlier):
        if call.tool == "drop" and call.result:
            return ""
        if call.tool == "enrol" and call.result:
            return str(call.result.get("course", ""))
    return ""
