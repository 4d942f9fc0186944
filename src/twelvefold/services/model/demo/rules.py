"""The built-in demo model's rules: a request of the Responses API to the items of a reply.

They drive the enrolment workflow by its tools' names and results, and call any other tool, another
workflow's or a caller's own, where the user's words name it. Pure: the same request has the same
reply.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from twelvefold.core.events import Item
from twelvefold.services.model.demo.conversation import (
    Call,
    Talk,
    Told,
    answered,
    read_talk,
    rows_of,
)
from twelvefold.services.model.demo.intent import WHICH_TO_DROP, Wish, understood, with_seats
from twelvefold.services.model.demo.structured_output import fitting
from twelvefold.services.model.demo.tool_choice import (
    NAMED,
    anything,
    cut,
    filled,
    fit_of,
    is_greeting,
    made_up,
    told_by,
)

NOTICE = (
    "I am the built-in demo model: a few rules, not a language model. "
    "Set OPENAI_API_KEY to talk with a real one.\n\n"
)
HELP = (
    "I can find courses, look one up, enrol you, find an alternative when a course is full, drop "
    'a course and list yours. Try "I want to learn databases", "something cheaper than 200", '
    '"sign me up for DB-101, or something similar if it is full", or "what am I enrolled in".'
)
NO_EYES = "I cannot see images: my rules read words alone. Tell me what you would like in words."
MOST_SHOWN = 4
_OURS = {"find_courses", "get_course"}
_ALL_OURS = _OURS | {"my_enrolments", "drop", "enrol", "find_alternatives", "send_welcome"}
_DESCRIPTION_CHARS = 300
_OBSERVED = re.compile(r"\W*Observation:\s*(.*\S)", re.DOTALL)
"""How smolagents passes a result on; it ends with a call of `final_answer`."""


def reply(body: Mapping[str, Any]) -> list[Item]:
    """The demo model's reply to a request: one message, or one call of a tool on offer."""
    talk = read_talk(body)
    answer = _demanded(talk, body.get("tool_choice")) or _willingly(talk)
    if isinstance(answer, Call) and answer.tool not in talk.tools:
        answer = f"I would call {answer.tool} now, but it is not on offer."
    if isinstance(answer, str):
        answer = _in_format(body, talk, answer)
    return answered(body, answer)


def _in_format(body: Mapping[str, Any], talk: Talk, answer: str) -> str:
    """The answer as JSON where the request wants that, else as text."""
    options = body.get("text")
    form = options.get("format") if isinstance(options, dict) else None
    match form:
        case {"type": "json_schema", "schema": schema}:
            return json.dumps(fitting(schema, answer=answer, said=talk.said), ensure_ascii=False)
        case {"type": "json_object"}:
            return json.dumps({"answer": answer}, ensure_ascii=False)
        case _:
            return answer if talk.asked else NOTICE + answer


def _willingly(talk: Talk) -> Call | str:
    if talk.has_image and not talk.now:
        return NO_EYES
    if not talk.tools.keys() >= _OURS:
        return anything(talk)
    return _of_the_caller(talk) or _enrolment(talk)


def _demanded(talk: Talk, choice: object) -> Call | None:
    """The call that the request wants, where it wants one; by choice one that fits."""
    names = list(talk.tools)
    if isinstance(choice, dict):
        names = [name for name in names if name == choice.get("name")]
    elif choice != "required":
        return None
    if not names:
        return None
    if "final_answer" in names and (found := _OBSERVED.match(talk.said)):
        return Call("final_answer", {"answer": found[1]})
    # Of tools that fit alike a caller that demands a call waits for one of its own.
    name = max(names, key=lambda name: (fit_of(talk.said, talk.tools[name]), name not in _ALL_OURS))
    tool = talk.tools[name]
    arguments = filled(talk.said, tool)
    return Call(name, made_up(talk.said, tool) if arguments is None else arguments)


def _of_the_caller(talk: Talk) -> Call | None:
    """The call of a tool that is not the academy's, if the words name it."""
    if talk.now or is_greeting(talk.said):
        return None
    names = [name for name in talk.tools if name not in _ALL_OURS]
    fits = [(fit_of(talk.said, talk.tools[name]), name) for name in names]
    fit, name = max(fits, default=(0, ""))
    if fit < NAMED:
        return None
    arguments = filled(talk.said, talk.tools[name])
    return None if arguments is None else Call(name, arguments)


# The enrolment workflow


def _enrolment(talk: Talk) -> Call | str:
    wish = understood(talk)
    if not talk.now:
        return _first_move(wish)
    last = talk.now[-1]
    match last.tool:
        case "find_courses":
            return _after_find(wish, last)
        case "get_course":
            return _after_get(wish, last)
        case "enrol":
            return _after_enrol(talk, last)
        case "find_alternatives":
            return _after_alternatives(talk, wish, last)
        case "send_welcome":
            return _enrolled(talk, last)
        case "my_enrolments":
            return _after_list(wish, last)
        case "drop":
            return _after_drop(last)
        case _:
            return told_by(last)


def _first_move(wish: Wish) -> Call | str:
    match wish.kind:
        case "enrol" | "details" if wish.code:
            return Call("get_course", {"course_code": wish.code})
        case "enrol" | "search":
            arguments = {"text": wish.words or None, "topic": None}
            return Call("find_courses", {**arguments, "highest_price_usd": wish.highest_usd})
        case "drop" if wish.code:
            return Call("drop", {"course_code": wish.code})
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


def _after_find(wish: Wish, found: Told) -> Call | str:
    if not found.result:
        return f"I could not search: {found.error}."
    courses = found.rows("courses")
    if not courses:
        topics = ", ".join(str(topic) for topic in found.result.get("topics") or ["nothing yet"])
        return f"I found no course that fits. There are courses on {topics}."
    if wish.kind == "enrol":
        return Call("get_course", {"course_code": courses[0].get("code")})
    return f"{_lines(courses)}\nTell me a code, and I look it up or sign you up."


def _after_get(wish: Wish, looked_up: Told) -> Call | str:
    course = looked_up.result
    if not course:
        return f"{_capital(_reason(looked_up))}. Tell me what you want to learn, and I search."
    sections = with_seats(course)
    if wish.kind == "enrol" and (wish.flexible or len(sections) < 2):
        # Without a seat it is tried all the same: one may have come free since.
        code = sections[0].get("section") if len(sections) > 1 else wish.code or course.get("code")
        return Call("enrol", {"course_code": code})
    shown = _lines(sections or rows_of(course, "sections"))
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
    about = cut(str(course.get("description") or "no description"), _DESCRIPTION_CHARS)
    return f"{course.get('code')}, {course.get('title')}: {about}{required}"


def _after_enrol(talk: Talk, tried: Told) -> Call | str:
    if tried.result:
        welcome = Call("send_welcome", {"course_code": tried.result.get("course")})
        return welcome if "send_welcome" in talk.tools else _enrolled(talk, None)
    looked_before = any(told.tool == "find_alternatives" for told in talk.now)
    if (
        "find_alternatives" in tried.error
        and "find_alternatives" in talk.tools
        and not looked_before
    ):
        return Call("find_alternatives", {"course_code": tried.arguments.get("course_code")})
    return f"I could not enrol you: {_reason(tried)}."


def _after_alternatives(talk: Talk, wish: Wish, found: Told) -> Call | str:
    refused = "; ".join(_reason(told) for told in talk.now if told.tool == "enrol")
    alternatives = found.rows("alternatives")
    if not alternatives:
        return f"I could not enrol you: {refused}. I found no alternative either."
    nearest = alternatives[0]
    if wish.flexible:
        return Call("enrol", {"course_code": nearest.get("section")})
    return (
        f"I could not enrol you: {refused}. These are near it and have seats:\n"
        f"{_lines(alternatives)}\nShall I take {nearest.get('section')}, {nearest.get('title')}?"
    )


def _reason(refused: Told) -> str:
    """Why a call was refused; what follows the semicolon is advice to a model."""
    return refused.error.partition(";")[0].replace("the student is", "you are")


def _enrolled(talk: Talk, welcome: Told | None) -> str:
    tries = [told for told in talk.now if told.tool == "enrol"]
    said = [f"You are enrolled in {_one_line(told.result)}." for told in tries if told.result]
    refused = [
        f"{_capital(_reason(told))}, so I took the nearest." for told in tries if not told.result
    ]
    if welcome and welcome.result:
        said.append(f"A welcome mail is on its way to {welcome.result.get('sent_to')}.")
    return " ".join(refused + said)


def _after_list(wish: Wish, listed: Told) -> Call | str:
    taken = listed.rows("enrolments")
    if not taken:
        return "You are not enrolled in any course."
    if wish.kind != "drop":
        return f"You are enrolled in:\n{_lines(taken, most=len(taken))}"
    if len(taken) == 1:
        return Call("drop", {"course_code": taken[0].get("course")})
    return f"{WHICH_TO_DROP}\n{_lines(taken, most=len(taken))}"


def _after_drop(dropped: Told) -> str:
    if not dropped.result:
        return f"I could not drop it: {_reason(dropped)}."
    code, title = dropped.result.get("dropped"), dropped.result.get("title")
    return f"Done: you are no longer enrolled in {code}, {title}."


def _lines(rows: Sequence[Mapping[str, Any]], most: int = MOST_SHOWN) -> str:
    return "\n".join(f"- {_one_line(row)}" for row in rows[:most])


def _one_line(row: Mapping[str, Any]) -> str:
    code = row.get("section") or row.get("code") or row.get("course")
    said = [
        f"{code} {row.get('title', '')}",
        _price(row),
        f"starts {row.get('starts')}",
        _seats(row),
    ]
    return ", ".join([*filter(None, said), *map(str, row.get("meets") or ())])


def _price(row: Mapping[str, Any]) -> str:
    price = row.get("price_usd")
    if not isinstance(price, int | float):
        return ""
    return f"${price:g}" if price else "free"


def _seats(row: Mapping[str, Any]) -> str:
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


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
