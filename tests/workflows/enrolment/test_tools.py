"""The tools on real stores: their writes, refusals and results."""

import asyncio
from typing import Any, cast

import pytest

from twelvefold import Principal, Tool, ToolRefused
from twelvefold.core.ports import Store
from twelvefold.errors import StoreUnavailable
from twelvefold.workflows.enrolment import tools
from twelvefold.workflows.enrolment.workflow import workflow

ADA = Principal("ada")
BOB = Principal("bob@example.org")


async def read(store: Store, tool: Tool, *arguments: Any, **named: Any) -> dict[str, Any]:
    async with store.read() as db:
        return cast("dict[str, Any]", await tool(db, *arguments, **named))


async def write(store: Store, tool: Tool, who: Principal, code: str) -> dict[str, Any]:
    """Call a tool in a transaction, again if the database asks for that, as the engine does."""
    for _ in range(20):
        try:
            async with store.write() as tx:
                return cast("dict[str, Any]", await tool(tx, who, code))
        except StoreUnavailable:
            await asyncio.sleep(0.01)
    raise AssertionError(f"{tool.name} did not succeed in twenty attempts")


async def refusal(store: Store, tool: Tool, who: Principal, code: str) -> str:
    with pytest.raises(ToolRefused) as refused:
        await write(store, tool, who, code)
    return str(refused.value)


async def rows(store: Store, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    async with store.read() as db:
        return [tuple(row.values()) for row in await db.fetch_all(statement, **values)]


async def change(store: Store, statement: str, **values: Any) -> None:
    async with store.write() as tx:
        assert await tx.execute(statement, **values)


async def seats_left(store: Store, section: str) -> int:
    ((seats,),) = await rows(store, "select seats_left from sections where id = :id", id=section)
    return int(seats)


def codes(found: dict[str, Any]) -> list[str]:
    return [course["code"] for course in found["courses"]]


# Finding


async def test_courses_are_found_by_words_and_the_best_match_is_first(store: Store) -> None:
    found = await read(store, tools.find_courses, text="I want to learn databases")

    assert codes(found)[:6] == ["DB-110", "DB-102", "DB-210", "DB-201", "DB-301", "DB-101"]
    assert found["courses"][1] == {
        "code": "DB-102",
        "title": "Practical SQL",
        "topic": "Databases",
        "price_usd": 190.0,
        "starts": "2027-01-04",
        "sections": 1,
        "seats_left": 119,
    }


async def test_a_full_course_is_listed_after_those_with_seats(store: Store) -> None:
    found = await read(store, tools.find_courses, topic="db")

    assert codes(found) == ["DB-110", "DB-102", "DB-210", "DB-201", "DB-301", "DB-101"]


async def test_a_topic_is_a_code_or_part_of_a_name(store: Store) -> None:
    by_code = await read(store, tools.find_courses, topic="UX")
    by_name = await read(store, tools.find_courses, topic=" design ")

    assert codes(by_code) == codes(by_name) != []


async def test_no_course_costs_more_than_the_highest_price(store: Store) -> None:
    found = await read(store, tools.find_courses, topic="Databases", highest_price_usd=190)

    assert codes(found) == ["DB-110", "DB-102"]


async def test_a_search_returns_at_most_ten_courses(store: Store) -> None:
    assert len(codes(await read(store, tools.find_courses))) == 10


async def test_a_search_without_results_lists_the_topics(store: Store) -> None:
    found = await read(store, tools.find_courses, text="falconry")

    assert found["courses"] == []
    assert "Databases" in found["topics"]


@pytest.mark.parametrize(
    ("search", "first", "note"),
    [
        ({"topic": "python"}, "PY-101", "there is no topic 'python'; these courses have the words"),
        (
            {"topic": "Computer Science", "text": "Python 101"},
            "PY-101",
            "there is no topic 'Computer Science'; these courses have the words",
        ),
        (
            {"topic": "SQL", "text": "falconry"},
            "DB-102",
            "there is no topic 'SQL'; these courses have the words",
        ),
        (
            {"topic": "Databases", "text": "typescript"},
            "WEB-220",
            "no course in Databases has 'typescript'; these are others",
        ),
        (
            {"topic": "DB", "text": "falconry"},
            "DB-110",
            "no course has 'falconry'; these are in DB",
        ),
        (
            {"text": "cryptography", "highest_price_usd": 5},
            "SEC-220",
            "no course costs 5 USD or less; these cost more",
        ),
    ],
)
async def test_a_too_narrow_search_drops_a_condition_and_notes_it(
    store: Store, search: dict[str, Any], first: str, note: str
) -> None:
    found = await read(store, tools.find_courses, **search)

    assert (codes(found)[0], found["note"]) == (first, note)


@pytest.mark.parametrize("tool", [tools.get_course, tools.enrol])
async def test_an_unknown_course_names_courses_with_its_words(store: Store, tool: Tool) -> None:
    message = await refusal(store, tool, ADA, "Python for absolute beginners")

    assert message == (
        "there is no course 'PYTHON-FOR-ABSOLUTE-BEGINNERS'; "
        "the nearest are PY-101 (Python for Beginners)"
    )


async def test_a_course_without_an_enrolment_names_the_enrolled_courses(
    store: Store,
) -> None:
    await write(store, tools.enrol, ADA, "DB-102")

    message = await refusal(store, tools.drop, ADA, "PY-101")

    assert message == "the student is not enrolled in 'PY-101'; the student takes DB-102"


@pytest.mark.parametrize(
    "text", ["100%", "_", "'; drop table courses; --", ":x", "é", "", "a " * 500]
)
async def test_a_search_accepts_any_text(store: Store, text: str) -> None:
    assert "courses" in await read(store, tools.find_courses, text=text, topic=text)


async def test_a_course_is_shown_with_its_sections(store: Store) -> None:
    course = await read(store, tools.get_course, ADA, "db-201")

    assert course["prerequisites"] == [{"code": "DB-102", "student": "has not taken it"}]
    assert course["credits"] == 0.75
    assert course["sections"] == [
        {
            "section": "DB-201-A",
            "course": "DB-201",
            "title": "Query Performance and Indexes",
            "price_usd": 320.0,
            "starts": "2027-02-08",
            "ends": "2027-04-30",
            "meets": ["Mon 18:00-19:30", "Wed 18:00-19:30"],
            "seats_left": 14,
            "capacity": 20,
            "status": "open",
        }
    ]


@pytest.mark.parametrize("written", ["PY-101", "py 101", "py101", " Py-101 "])
async def test_a_code_is_accepted_in_any_notation(store: Store, written: str) -> None:
    course = await read(store, tools.get_course, ADA, written)

    assert [one["section"] for one in course["sections"]] == ["PY-101-A", "PY-101-B"]


async def test_a_section_id_shows_only_that_section(store: Store) -> None:
    course = await read(store, tools.get_course, ADA, "PY-101-B")

    assert [one["section"] for one in course["sections"]] == ["PY-101-B"]


# Enrolling


async def test_enrolling_takes_a_seat_and_records_the_student(store: Store) -> None:
    result = await write(store, tools.enrol, ADA, "DB-102")

    assert result == {
        "course": "DB-102",
        "section": "DB-102-A",
        "title": "Practical SQL",
        "price_usd": 190.0,
        "starts": "2027-01-04",
        "ends": "2027-01-29",
    }
    assert await seats_left(store, "DB-102-A") == 118
    enrolments = "select student_id, section_id, course_code, price_cents, welcomed from enrolments"
    assert await rows(store, enrolments) == [("ada", "DB-102-A", "DB-102", 19_000, 0)]
    students = "select id, email, seats_held from students"
    assert await rows(store, students) == [("ada", "ada@students.example", 1)]


async def test_the_only_section_with_seats_is_selected(store: Store) -> None:
    result = await write(store, tools.enrol, ADA, "PY-101")

    assert result["section"] == "PY-101-B"


async def test_the_student_chooses_among_several_sections(store: Store) -> None:
    refused = await refusal(store, tools.enrol, ADA, "MATH-101")
    result = await write(store, tools.enrol, ADA, "MATH-101-B")

    assert "several sections of MATH-101 have seats: MATH-101-A, MATH-101-B" in refused
    assert result["section"] == "MATH-101-B"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("XX-999", "there is no course 'XX-999'; find_courses gives the codes"),
        ("DB-101", "DB-101 is full; find_alternatives gives courses with seats"),
        ("UX-110", "UX-110 is full; find_alternatives gives courses with seats"),
        ("SEC-301", "SEC-301 is closed for enrolment; find_alternatives gives open courses"),
        (
            "DB-201",
            "DB-201 requires DB-102, completed or taken before 2027-02-08; get_course and enrol "
            "for DB-102 first, or find_alternatives gives courses without that",
        ),
    ],
)
async def test_a_refusal_names_the_next_step_and_writes_nothing(
    store: Store, code: str, message: str
) -> None:
    before = await rows(store, "select id, seats_left from sections order by id")

    assert await refusal(store, tools.enrol, ADA, code) == message
    assert await rows(store, "select id, seats_left from sections order by id") == before
    assert await rows(store, "select id from students") == []


async def test_a_second_enrolment_in_a_course_is_refused(store: Store) -> None:
    await write(store, tools.enrol, ADA, "MATH-101-A")

    refused = await refusal(store, tools.enrol, ADA, "MATH-101-B")

    assert "already enrolled in MATH-101 (section MATH-101-A); my_enrolments" in refused
    assert await seats_left(store, "MATH-101-B") == 18


async def test_the_holder_of_the_last_seat_is_already_enrolled(
    store: Store,
) -> None:
    await write(store, tools.enrol, ADA, "DB-110")

    assert "already enrolled" in await refusal(store, tools.enrol, ADA, "DB-110")
    assert "DB-110 is full" in await refusal(store, tools.enrol, BOB, "DB-110")


async def test_two_courses_at_the_same_time_are_refused(store: Store) -> None:
    await write(store, tools.enrol, ADA, "DB-102")

    refused = await refusal(store, tools.enrol, ADA, "WEB-101")

    assert (
        "WEB-101 meets while the student has DB-102 (Tue 18:00-19:30), a time conflict" in refused
    )


async def test_the_same_hour_in_another_term_is_no_conflict(store: Store) -> None:
    await write(store, tools.enrol, ADA, "DB-102")

    assert await write(store, tools.enrol, ADA, "BIZ-210")


async def test_a_prerequisite_is_met_by_a_course_that_ends_before(store: Store) -> None:
    await write(store, tools.enrol, ADA, "DB-102")

    course = await read(store, tools.get_course, ADA, "DB-201")
    result = await write(store, tools.enrol, ADA, "DB-201")

    assert course["prerequisites"] == [{"code": "DB-102", "student": "takes it until 2027-01-29"}]
    assert result["course"] == "DB-201"


async def test_a_prerequisite_is_met_by_a_completed_course(store: Store) -> None:
    await write(store, tools.enrol, ADA, "SEC-101")
    completed = "insert into completed_courses (student_id, course_code) values ('ada', 'DB-102')"
    await change(store, completed)

    assert await write(store, tools.enrol, ADA, "DB-201")


async def test_a_prerequisite_that_ends_too_late_is_not_met(store: Store) -> None:
    await write(store, tools.enrol, ADA, "DB-102")
    await change(store, "update sections set ends_on = '2027-02-08' where id = 'DB-102-A'")

    assert "DB-201 requires DB-102" in await refusal(store, tools.enrol, ADA, "DB-201")
    alternatives = await read(store, tools.find_alternatives, ADA, "DB-101")
    assert "DB-201-A" not in [one["section"] for one in alternatives["alternatives"]]


async def test_student_ids_are_case_sensitive(store: Store) -> None:
    await write(store, tools.enrol, ADA, "DB-102")
    await write(store, tools.enrol, Principal("Ada"), "DB-102")

    assert await seats_left(store, "DB-102-A") == 117


# Concurrency


async def test_one_of_twenty_students_gets_the_last_seat(store: Store) -> None:
    students = [Principal(f"student-{number}") for number in range(20)]

    result = await asyncio.gather(
        *(write(store, tools.enrol, student, "DB-110") for student in students),
        return_exceptions=True,
    )

    enrolled = [one for one in result if isinstance(one, dict)]
    refused = [str(one) for one in result if isinstance(one, ToolRefused)]
    assert len(enrolled) == 1
    assert refused == ["DB-110 is full; find_alternatives gives courses with seats"] * 19
    assert await seats_left(store, "DB-110-A") == 0
    assert len(await rows(store, "select student_id from enrolments")) == 1


async def test_twenty_take_seats_of_two_courses_and_no_seat_is_lost(store: Store) -> None:
    students = [Principal(f"student-{number}") for number in range(20)]

    async def both(number: int, student: Principal) -> None:
        for code in ("SEC-101", "PY-120") if number % 2 else ("PY-120", "SEC-101"):
            await write(store, tools.enrol, student, code)

    async with asyncio.TaskGroup() as group:
        for number, student in enumerate(students):
            group.create_task(both(number, student))
    assert (await seats_left(store, "SEC-101-A"), await seats_left(store, "PY-120-A")) == (337, 3)


async def test_a_students_own_calls_at_once_do_not_clash_past_each_other(store: Store) -> None:
    result = await asyncio.gather(
        *(write(store, tools.enrol, ADA, code) for code in ("DB-102", "WEB-101", "DB-102")),
        return_exceptions=True,
    )

    assert sum(isinstance(one, dict) for one in result) == 1
    assert len(await rows(store, "select section_id from enrolments")) == 1
    assert await rows(store, "select seats_held from students") == [(1,)]


# Alternatives


async def test_alternatives_are_near_and_can_be_taken(store: Store) -> None:
    await refusal(store, tools.enrol, ADA, "DB-101")

    found = await read(store, tools.find_alternatives, ADA, "DB-101")

    assert [one["section"] for one in found["alternatives"]] == ["DB-102-A", "DB-110-A", "DB-210-A"]
    assert found["alternatives"][0]["meets"] == ["Tue 18:00-19:30", "Thu 18:00-19:30"]


async def test_another_section_of_the_course_is_the_nearest_alternative(store: Store) -> None:
    found = await read(store, tools.find_alternatives, ADA, "LANG-101-A")

    assert found["alternatives"][0]["section"] == "LANG-101-B"


async def test_alternatives_have_no_conflict_and_no_enrolment(store: Store) -> None:
    await write(store, tools.enrol, ADA, "WEB-101")
    await write(store, tools.enrol, ADA, "DB-110")

    found = await read(store, tools.find_alternatives, ADA, "DB-101")

    assert [one["section"] for one in found["alternatives"]] == ["DB-210-A"]


async def test_a_note_replaces_missing_alternatives(store: Store) -> None:
    await change(store, "update sections set status = 'closed'")

    found = await read(store, tools.find_alternatives, ADA, "DB-101")

    assert found == {"alternatives": [], "note": "nothing near it fits; find_courses looks further"}


# Afterwards


async def test_dropping_returns_the_seat_once(store: Store) -> None:
    await write(store, tools.enrol, ADA, "DB-102")

    result = await write(store, tools.drop, ADA, "DB-102")
    again = await refusal(store, tools.drop, ADA, "DB-102")

    assert result == {"dropped": "DB-102", "title": "Practical SQL"}
    assert again == "the student is not enrolled in 'DB-102'; the student takes no course"
    assert await seats_left(store, "DB-102-A") == 119
    assert await rows(store, "select seats_held from students") == [(0,)]


async def test_concurrent_drops_return_one_seat(store: Store) -> None:
    await write(store, tools.enrol, ADA, "DB-102")

    result = await asyncio.gather(
        *(write(store, tools.drop, ADA, "DB-102") for _ in range(5)), return_exceptions=True
    )

    assert sum(isinstance(one, dict) for one in result) == 1
    assert await seats_left(store, "DB-102-A") == 119


async def test_a_student_cannot_drop_another_students_course(store: Store) -> None:
    await write(store, tools.enrol, ADA, "DB-102")

    assert "not enrolled" in await refusal(store, tools.drop, BOB, "DB-102")


async def test_enrolments_are_listed_with_their_times(store: Store) -> None:
    assert await read(store, tools.my_enrolments, ADA) == {"enrolments": []}
    await write(store, tools.enrol, ADA, "DB-102")

    (listed,) = (await read(store, tools.my_enrolments, ADA))["enrolments"]

    assert (listed["course"], listed["meets"]) == ("DB-102", ["Tue 18:00-19:30", "Thu 18:00-19:30"])


async def test_the_welcome_is_in_the_outbox_once(store: Store) -> None:
    await write(store, tools.enrol, BOB, "DB-102")

    result = await write(store, tools.send_welcome, BOB, "DB-102")
    again = await refusal(store, tools.send_welcome, BOB, "DB-102")

    assert result["sent_to"] == "bob@example.org"
    assert again == "the welcome for DB-102 was sent before"
    ((kind, body),) = await rows(store, "select kind, body from outbox")
    assert kind == "mail"
    assert "Welcome to Practical SQL" in body


async def test_a_welcome_requires_an_enrolment(store: Store) -> None:
    assert "not enrolled in 'DB-102'" in await refusal(store, tools.send_welcome, ADA, "DB-102")


def test_the_tools_declare_their_gates() -> None:
    gates = {one.name: (one.effect, one.requires, one.after_refusal) for one in workflow.tools}

    assert gates == {
        "find_courses": ("readonly", (), ()),
        "get_course": ("readonly", (), ()),
        "enrol": ("transactional", ("get_course",), ()),
        "find_alternatives": ("readonly", (), ("enrol",)),
        "drop": ("transactional", (), ()),
        "my_enrolments": ("readonly", (), ()),
        "send_welcome": ("transactional", ("enrol",), ()),
    }


def test_every_tool_has_a_strict_schema() -> None:
    assert all(one.parameters.strict and one.description for one in workflow.tools)
