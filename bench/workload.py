"""The run that is measured, as a workflow of Twelvefold: the tools of `bench.academy`."""

from typing import Any

from bench import academy
from bench.asking import Asking
from twelvefold import Principal, ReadOnly, Transaction, Workflow, tool
from twelvefold.workflows.enrolment.workflow import workflow as enrolment


@tool
async def get_course(db: ReadOnly, who: Principal, course_code: str) -> dict[str, Any]:
    """Look up a course: its price, its description and the seats left.

    course_code: the code that the student gave.
    """
    return dict(await db.fetch_one(academy.COURSE, code=course_code) or {})


@tool
async def enrol(tx: Transaction, who: Principal, course_code: str) -> dict[str, Any]:
    """Enrol the student in a course, which takes a seat and is binding.

    course_code: the course's code.
    """
    return await academy.enrol(tx, course_code, who.id)


@tool
async def send_welcome(tx: Transaction, who: Principal, course_code: str) -> dict[str, Any]:
    """Send the student the welcome mail of a course, once after enrolling.

    course_code: the code of a course in which the student is enrolled.
    """
    return await academy.send_welcome(tx, course_code, who.id)


workflow = Workflow(
    name="bench", instructions=enrolment.instructions, tools=(get_course, enrol, send_welcome)
)


def asking() -> Asking:
    """Return the parts of a request beside the conversation, for the other contenders."""
    tools = [
        {
            "type": "function",
            "name": one.spec.name,
            "description": one.spec.description,
            "parameters": dict(one.spec.parameters),
            "strict": one.spec.strict,
        }
        for one in workflow.tools
    ]
    return Asking(str(workflow.instructions), tools)
