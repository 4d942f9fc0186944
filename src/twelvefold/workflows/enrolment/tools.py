"""The tools of the assistant: find courses, enrol in them, and drop them.

The student is the principal of the run, not a name from the model. A tool that writes locks the
student's row first and changes the section's seats last. A refusal rolls back everything.
"""

from collections.abc import Iterator, Sequence

from twelvefold import DuplicateRow, Principal, ReadOnly, ToolRefused, Transaction, tool
from twelvefold.workflows.enrolment import wording
from twelvefold.workflows.enrolment.sql import SQL
from twelvefold.workflows.enrolment.wording import Json, Row, course_key

MAX_NEAREST_COURSES = 3
"""Number of courses that an error about an unknown course names."""


@tool
async def find_courses(
    db: ReadOnly,
    text: str | None = None,
    topic: str | None = None,
    highest_price_usd: float | None = None,
) -> Json:
    """Find courses; returns ten at most, those that fit best first.

    If the student names a course by its code, call get_course instead.

    text: what the student wants to learn, in the student's own words, or null.
    topic: null, unless the student asks for a department; then its name or code.
    highest_price_usd: leave out courses that cost more; null for any price.
    """
    words, named = text or "", topic or ""
    if courses := await _search(db, words, named, highest_price_usd):
        return {"courses": courses}
    topics = await db.fetch_all(SQL["topics"])
    for note, search in _wider(words, named, highest_price_usd, topics):
        if courses := await _search(db, *search):
            return {"courses": courses, "note": note}
    names = [row["name"] for row in topics]
    return {"courses": [], "note": "no course fits; ask for less", "topics": names}


async def _search(db: ReadOnly, text: str, topic: str, highest_usd: float | None) -> list[Json]:
    values = wording.search_values(text, topic, highest_usd)
    rows = await db.fetch_all(SQL["find_courses"], **values)
    # Keeps only the rows that match as many words as the first.
    return [wording.found_course(row) for row in rows if row["hits"] == rows[0]["hits"]]


def _wider(
    text: str, topic: str, highest_usd: float | None, topics: Sequence[Row]
) -> Iterator[tuple[str, tuple[str, str, float | None]]]:
    """Yield searches with one condition less, each with a note about it."""
    if topic and not wording.is_topic(topic, topics):
        note = f"there is no topic {topic!r}; these courses have the words"
        if text:
            yield note, (text, "", highest_usd)
        yield note, (topic, "", highest_usd)
    elif topic and text:
        yield f"no course in {topic} has {text!r}; these are others", (text, "", highest_usd)
        yield f"no course has {text!r}; these are in {topic}", ("", topic, highest_usd)
    if highest_usd is not None:
        yield f"no course costs {highest_usd:g} USD or less; these cost more", (text, topic, None)


@tool
async def get_course(db: ReadOnly, who: Principal, course_code: str) -> Json:
    """Look up a course: price, dates, meeting times, seats left and prerequisites.

    Call it first when the student names a course by its code, also to enrol in it.

    course_code: the code that the student gave, or a section's id to see that section alone.
    """
    code = course_key(course_code)
    course = await db.fetch_one(SQL["course"], code=code)
    if course is None:
        raise await _unknown_course(db, course_code)
    return wording.whole_course(
        course,
        await db.fetch_all(SQL["sections"], code=code),
        wording.meetings_by_section(await db.fetch_all(SQL["meetings"], code=code)),
        await db.fetch_all(SQL["prerequisites"], code=course["code"], student=who.id),
    )


@tool(requires="get_course")
async def enrol(tx: Transaction, who: Principal, course_code: str) -> Json:
    """Enrol the student in a course, which takes a seat and is binding.

    course_code: the course's code, or the id of one section where several have seats.
    """
    code = course_key(course_code)
    sections = await tx.fetch_all(SQL["sections"], code=code)
    if not sections:
        raise await _unknown_course(tx, course_code)
    await _lock_student(tx, who)
    await _check_not_enrolled(tx, who, sections[0]["course_code"])
    section = _select_section(sections, code)
    await _check_prerequisites(tx, who, section)
    await _check_times(tx, who, section)
    await _take_seat(tx, who, section)
    return wording.enrolled(section)


async def _lock_student(tx: Transaction, who: Principal) -> None:
    """Lock the student's row, so that no other call for the student runs. Inserts a new student."""
    if await tx.execute(SQL["lock_student"], student=who.id, change=1):
        return
    email = wording.email_of(who.id)
    try:
        await tx.execute(SQL["insert_student"], student=who.id, email=email)
    except DuplicateRow:
        # A concurrent first call of the same student has inserted the row.
        await tx.execute(SQL["lock_student"], student=who.id, change=1)


async def _check_not_enrolled(tx: Transaction, who: Principal, code: str) -> None:
    taken = await tx.fetch_one(SQL["enrolment"], student=who.id, code=code)
    if taken:
        raise ToolRefused(
            f"the student is already enrolled in {code} (section {taken['section_id']}); "
            "my_enrolments lists all, drop gives a seat back"
        )


def _select_section(sections: Sequence[Row], code: str) -> Row:
    """Return the only section, or the only section with seats."""
    with_seats = [row for row in sections if row["status"] == "open" and row["seats_left"] > 0]
    if len(with_seats) > 1:
        ids = ", ".join(row["id"] for row in with_seats)
        raise ToolRefused(
            f"several sections of {code} have seats: {ids}; ask the student which one, "
            "get_course has their times, and call enrol with its id"
        )
    if with_seats:
        return with_seats[0]
    raise _full(code) if any(row["seats_left"] <= 0 for row in sections) else _closed(code)


async def _check_prerequisites(tx: Transaction, who: Principal, section: Row) -> None:
    rows = await tx.fetch_all(SQL["prerequisites"], code=section["course_code"], student=who.id)
    missing = [row["code"] for row in rows if not _met(row, section)]
    if missing:
        raise ToolRefused(
            f"{section['course_code']} requires {' and '.join(missing)}, completed or taken before "
            f"{section['starts_on']}; get_course and enrol for {missing[0]} first, or "
            "find_alternatives gives courses without that"
        )


def _met(prerequisite: Row, section: Row) -> bool:
    until = prerequisite["enrolled_until"]
    return bool(prerequisite["completed"] or (until and until < section["starts_on"]))


async def _check_times(tx: Transaction, who: Principal, section: Row) -> None:
    clash = await tx.fetch_one(SQL["clash"], student=who.id, section=section["id"])
    if clash:
        raise ToolRefused(
            f"{section['course_code']} meets while the student has {clash['course_code']} "
            f"({wording.meeting_text(clash)}), a time conflict; find_alternatives gives courses "
            f"that fit, or drop {clash['course_code']} if the student wants that"
        )


async def _take_seat(tx: Transaction, who: Principal, section: Row) -> None:
    if not await tx.execute(SQL["take_seat"], section=section["id"]):
        # The last seat was taken after the section was read.
        raise _full(section["course_code"])
    try:
        await tx.execute(
            SQL["insert_enrolment"],
            student=who.id,
            section=section["id"],
            code=section["course_code"],
            price_cents=section["price_cents"],
        )
    except DuplicateRow:
        raise ToolRefused(f"the student is already enrolled in {section['course_code']}") from None


@tool(after_refusal="enrol")
async def find_alternatives(db: ReadOnly, who: Principal, course_code: str) -> Json:
    """After enrol refused: sections with seats that the student could take instead, nearest first.

    course_code: the course or section that enrol refused.
    """
    code = course_key(course_code)
    sections = await db.fetch_all(SQL["sections"], code=code)
    if not sections:
        raise await _unknown_course(db, course_code)
    refused = sections[0]
    rows = await db.fetch_all(
        SQL["alternatives"],
        student=who.id,
        code=refused["course_code"],
        department=refused["department"],
        term=refused["term"],
        price_cents=refused["price_cents"],
    )
    if not rows:
        return {"alternatives": [], "note": "nothing near it fits; find_courses looks further"}
    alternatives = []
    for row in rows:
        meetings = await db.fetch_all(SQL["meetings"], code=row["id"])
        alternatives.append(wording.offered_section(row, wording.meetings_by_section(meetings)))
    return {"alternatives": alternatives}


@tool
async def drop(tx: Transaction, who: Principal, course_code: str) -> Json:
    """Take the student out of a course and give the seat back; ask the student first.

    course_code: the code or section id of a course in which the student is enrolled.
    """
    code = course_key(course_code)
    is_known = await tx.execute(SQL["lock_student"], student=who.id, change=-1)
    taken = await tx.fetch_one(SQL["enrolment"], student=who.id, code=code) if is_known else None
    if taken is None:
        raise await _not_enrolled(tx, who, code)
    await tx.execute(SQL["delete_enrolment"], student=who.id, section=taken["section_id"])
    await tx.execute(SQL["give_seat_back"], section=taken["section_id"])
    return {"dropped": taken["course_code"], "title": taken["title"]}


@tool
async def my_enrolments(db: ReadOnly, who: Principal) -> Json:
    """List the courses in which the student is enrolled."""
    rows = await db.fetch_all(SQL["enrolments"], student=who.id)
    meetings = await db.fetch_all(SQL["enrolled_meetings"], student=who.id)
    by_section = wording.meetings_by_section(meetings)
    return {
        "enrolments": [
            {**wording.enrolment(row), "meets": by_section.get(row["section_id"], [])}
            for row in rows
        ]
    }


@tool(requires="enrol")
async def send_welcome(tx: Transaction, who: Principal, course_code: str) -> Json:
    """Send the student the welcome mail of a course, once after enrolling.

    course_code: the code or section id of a course in which the student is enrolled.
    """
    code = course_key(course_code)
    taken = await tx.fetch_one(SQL["enrolment"], student=who.id, code=code)
    if taken is None:
        raise await _not_enrolled(tx, who, code)
    section = taken["section_id"]
    if not await tx.execute(SQL["mark_welcomed"], student=who.id, section=section):
        raise ToolRefused(f"the welcome for {taken['course_code']} was sent before")
    meets = await tx.fetch_all(SQL["meetings"], code=section)
    times = ", ".join(wording.meeting_text(row) for row in meets) or "at your own pace"
    await tx.send_mail(
        taken["email"],
        f"Welcome to {taken['title']}",
        f"You are enrolled in {taken['course_code']}, {taken['title']} (section {section}).\n"
        f"It runs from {taken['starts_on']} to {taken['ends_on']}: {times}.\n",
    )
    return {"sent_to": taken["email"], "course": taken["course_code"], "title": taken["title"]}


async def _unknown_course(db: ReadOnly, written: str) -> ToolRefused:
    """Return the error for an unknown course. It names courses whose text has the words."""
    code = course_key(written)
    courses = await _search(db, written, "", None) if written.strip() else []
    if not courses:
        return ToolRefused(f"there is no course {code!r}; find_courses gives the codes")
    near = ", ".join(f"{one['code']} ({one['title']})" for one in courses[:MAX_NEAREST_COURSES])
    return ToolRefused(f"there is no course {code!r}; the nearest are {near}")


async def _not_enrolled(db: ReadOnly, who: Principal, code: str) -> ToolRefused:
    taken = [row["course_code"] for row in await db.fetch_all(SQL["enrolments"], student=who.id)]
    hint = f"the student takes {', '.join(taken)}" if taken else "the student takes no course"
    return ToolRefused(f"the student is not enrolled in {code!r}; {hint}")


def _full(code: str) -> ToolRefused:
    return ToolRefused(f"{code} is full; find_alternatives gives courses with seats")


def _closed(code: str) -> ToolRefused:
    return ToolRefused(f"{code} is closed for enrolment; find_alternatives gives open courses")


TOOLS = (find_courses, get_course, enrol, find_alternatives, drop, my_enrolments, send_welcome)
