"""The demo model's rules for the enrolment workflow, by the names and results of its tools."""

from collections.abc import Mapping, Sequence
from typing import Any

from twelvefold.services.model.demo.conversation import Call, CallResult, Conversation, rows_of
from twelvefold.services.model.demo.intent import (
    WHICH_TO_DROP,
    Intent,
    open_sections,
    parse_intent,
)
from twelvefold.services.model.demo.tool_choice import describe_result, truncate

HELP = (
    "I can find courses, look one up, enrol you, find an alternative when a course is full, drop "
    'a course and list yours. Try "I want to learn databases", "something cheaper than 200", '
    '"sign me up for DB-101, or something similar if it is full", or "what am I enrolled in".'
)
MAX_SHOWN = 4
_MAX_DESCRIPTION_CHARS = 300


def enrolment_reply(conversation: Conversation) -> Call | str:
    """Return the next call or message of a conversation about courses."""
    intent = parse_intent(conversation)
    if not conversation.new_results:
        return _first_reply(intent)
    last = conversation.new_results[-1]
    match last.tool:
        case "find_courses":
            return _after_find(intent, last)
        case "get_course":
            return _after_get(intent, last)
        case "enrol":
            return _after_enrol(conversation, last)
        case "find_alternatives":
            return _after_alternatives(conversation, intent, last)
        case "send_welcome":
            return _enrolment_message(conversation, last)
        case "my_enrolments":
            return _after_list(intent, last)
        case "drop":
            return _after_drop(last)
        case _:
            return describe_result(last)


def _first_reply(intent: Intent) -> Call | str:
    match intent.kind:
        case "enrol" | "details" if intent.code:
            return Call("get_course", {"course_code": intent.code})
        case "enrol" | "search":
            arguments = {"text": intent.words or None, "topic": None}
            return Call("find_courses", {**arguments, "highest_price_usd": intent.highest_usd})
        case "drop" if intent.code:
            return Call("drop", {"course_code": intent.code})
        case "drop" | "list":
            return Call("my_enrolments", {})
        case "which":
            return "Which course do you mean? Its code will do, such as DB-101."
        case "no":
            return "All right, nothing was changed. What else can I do for you?"
        case "bye":
            return "You are welcome. Good luck with your courses!"
        case "greet":
            return f"Hello! {HELP}"
        case _:
            return HELP


def _after_find(intent: Intent, found: CallResult) -> Call | str:
    if not found.result:
        return f"I could not search: {found.error}."
    courses = found.rows("courses")
    if not courses:
        topics = ", ".join(str(topic) for topic in found.result.get("topics") or ["nothing yet"])
        return f"I found no course that fits. There are courses on {topics}."
    if intent.kind == "enrol":
        return Call("get_course", {"course_code": courses[0].get("code")})
    return f"{_list_rows(courses)}\nTell me a code, and I look it up or sign you up."


def _after_get(intent: Intent, looked_up: CallResult) -> Call | str:
    course = looked_up.result
    if not course:
        reason = _capitalize(_refusal_reason(looked_up))
        return f"{reason}. Tell me what you want to learn, and I search."
    sections = open_sections(course)
    if intent.kind == "enrol" and (intent.accepts_alternative or len(sections) < 2):
        # Also without a seat: one may have become free since.
        code = (
            sections[0].get("section") if len(sections) > 1 else intent.code or course.get("code")
        )
        return Call("enrol", {"course_code": code})
    shown = _list_rows(sections or rows_of(course, "sections"))
    return f"{_description(course)}\n{shown}\n{_question(course, len(sections))}"


def _question(course: Mapping[str, Any], choices: int) -> str:
    if choices > 1:
        return "Which section do you want?"
    if choices == 0:
        return "It has no seat now. Shall I try all the same, and look for something near it?"
    return f"Shall I sign you up for {course.get('code')}?"


def _description(course: Mapping[str, Any]) -> str:
    needed = rows_of(course, "prerequisites")
    needs = [f"{one.get('code')} (you: {one.get('student')})" for one in needed]
    if note := str(course.get("prerequisite_note") or ""):
        needs.append(note.rstrip("."))
    required = f" It requires {', '.join(needs)}." if needs else ""
    about = truncate(str(course.get("description") or "no description"), _MAX_DESCRIPTION_CHARS)
    return f"{course.get('code')}, {course.get('title')}: {about}{required}"


def _after_enrol(conversation: Conversation, tried: CallResult) -> Call | str:
    if tried.result:
        welcome = Call("send_welcome", {"course_code": tried.result.get("course")})
        return (
            welcome
            if "send_welcome" in conversation.tools
            else _enrolment_message(conversation, None)
        )
    has_looked = any(call.tool == "find_alternatives" for call in conversation.new_results)
    if (
        "find_alternatives" in tried.error
        and "find_alternatives" in conversation.tools
        and not has_looked
    ):
        return Call("find_alternatives", {"course_code": tried.arguments.get("course_code")})
    return f"I could not enrol you: {_refusal_reason(tried)}."


def _after_alternatives(
    conversation: Conversation, intent: Intent, found: CallResult
) -> Call | str:
    refused = "; ".join(
        _refusal_reason(call) for call in conversation.new_results if call.tool == "enrol"
    )
    alternatives = found.rows("alternatives")
    if not alternatives:
        return f"I could not enrol you: {refused}. I found no alternative either."
    nearest = alternatives[0]
    if intent.accepts_alternative:
        return Call("enrol", {"course_code": nearest.get("section")})
    offer = f"Shall I take {nearest.get('section')}, {nearest.get('title')}?"
    return (
        f"I could not enrol you: {refused}. These are near it and have seats:\n"
        f"{_list_rows(alternatives)}\n{offer}"
    )


def _refusal_reason(refused: CallResult) -> str:
    """Return the reason of a refusal, without the advice to the model after the semicolon."""
    return refused.error.partition(";")[0].replace("the student is", "you are")


def _enrolment_message(conversation: Conversation, welcome: CallResult | None) -> str:
    tries = [call for call in conversation.new_results if call.tool == "enrol"]
    enrolled = [call.result for call in tries if call.result]
    reasons = [_capitalize(_refusal_reason(call)) for call in tries if not call.result]
    sentences = [f"{reason}, so I took the nearest." for reason in reasons]
    sentences += [f"You are enrolled in {_describe_row(result)}." for result in enrolled]
    if welcome and welcome.result:
        sentences.append(f"A welcome mail is on its way to {welcome.result.get('sent_to')}.")
    return " ".join(sentences)


def _after_list(intent: Intent, listed: CallResult) -> Call | str:
    taken = listed.rows("enrolments")
    if not taken:
        return "You are not enrolled in any course."
    if intent.kind != "drop":
        return f"You are enrolled in:\n{_list_rows(taken, most=len(taken))}"
    if len(taken) == 1:
        return Call("drop", {"course_code": taken[0].get("course")})
    return f"{WHICH_TO_DROP}\n{_list_rows(taken, most=len(taken))}"


def _after_drop(dropped: CallResult) -> str:
    if not dropped.result:
        return f"I could not drop it: {_refusal_reason(dropped)}."
    code, title = dropped.result.get("dropped"), dropped.result.get("title")
    return f"Done: you are no longer enrolled in {code}, {title}."


def _list_rows(rows: Sequence[Mapping[str, Any]], most: int = MAX_SHOWN) -> str:
    return "\n".join(f"- {_describe_row(row)}" for row in rows[:most])


def _describe_row(row: Mapping[str, Any]) -> str:
    code = row.get("section") or row.get("code") or row.get("course")
    parts = [
        f"{code} {row.get('title', '')}",
        _price_text(row),
        f"starts {row.get('starts')}",
        _seats_text(row),
    ]
    return ", ".join([*filter(None, parts), *map(str, row.get("meets") or ())])


def _price_text(row: Mapping[str, Any]) -> str:
    price = row.get("price_usd")
    if not isinstance(price, int | float):
        return ""
    return f"${price:g}" if price else "free"


def _seats_text(row: Mapping[str, Any]) -> str:
    if row.get("status") == "closed":
        return "closed"
    match row.get("seats_left"):
        case None:
            return ""
        case 0:
            return "full"
        case 1:
            return "1 seat left"
        case left:
            return f"{left} seats left"


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]
