"""What each client gets from the service, and what was done by it, case by case."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.acceptance.academy import Place
from tests.conformance.environments import command
from tests.conformance.service import Service

pytestmark = [
    pytest.mark.mysql,
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # the first one of a folder installs its clients
    pytest.mark.asyncio(loop_scope="session"),
]


@dataclass(frozen=True)
class Client:
    """A script and, where it is tried with both, the API. `shows_tools`: those of the server."""

    number: int
    folder: str
    script: str
    api: str = ""
    shows_tools: bool = True

    @property
    def name(self) -> str:
        what = self.script.removeprefix("with_").partition(".")[0]
        return "-".join(filter(None, (self.folder, what, self.api)))

    @property
    def place(self) -> Place:
        return Place(self.number)


@dataclass(frozen=True)
class Case:
    """What is asked, what the answer has in it, and which tools the server runs for it.

    `{course}` is the client's own.
    """

    question: str
    answer: str
    tools: tuple[str, ...] = ()
    streamed: bool = False


CLIENTS = (
    Client(101, "python", "with_openai.py"),
    Client(102, "python", "with_agents.py"),
    Client(103, "python", "with_langchain.py", "responses"),
    Client(104, "python", "with_pydantic_ai.py"),
    Client(105, "python", "with_llm.py", "chat", shows_tools=False),
    Client(106, "python", "with_llm.py", "responses", shows_tools=False),
    Client(107, "litellm", "with_litellm.py", "chat", shows_tools=False),
    Client(108, "litellm", "with_litellm.py", "responses"),
    Client(109, "node", "with_openai.mjs"),
    Client(110, "node", "with_ai_sdk.mjs"),
    Client(111, "python", "with_langchain.py", "chat", shows_tools=False),
    Client(112, "python", "with_smolagents.py", shows_tools=False),
    Client(113, "python", "with_autogen.py", shows_tools=False),
    Client(114, "litellm", "with_instructor.py", shows_tools=False),
    Client(115, "semantic_kernel", "with_semantic_kernel.py", "chat", shows_tools=False),
    Client(116, "semantic_kernel", "with_semantic_kernel.py", "responses", shows_tools=False),
)
CASES = {
    "text": Case("Hello!", "I can find courses"),
    "tools": Case(
        "Enrol me in {course}, please.",
        "You are enrolled in {course}",
        ("get_course", "enrol", "send_welcome"),
    ),
    "second": Case("What did I say?", "You said: Enrol me in {course}, please."),
    "stream": Case("What can you do?", "I can find courses", streamed=True),
    "own_tool": Case("The weather in: Rome", "18 degrees in Rome"),
}
PAIRS = [
    pytest.param(client, name, id=f"{client.name}-{name}") for client in CLIENTS for name in CASES
]


class Answers:
    """What each client has told, which is asked once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._told: dict[str, Any] = {}

    async def of(self, client: Client) -> Any:
        if client.name not in self._told:
            questions = {
                name: case.question.format(course=client.place.course)
                for name, case in CASES.items()
            }
            words = [*filter(None, [client.api]), json.dumps(questions)]
            key = await self._service.key(client.place)
            told = await self._service.run([*command(client.folder, client.script), *words], key)
            self._told[client.name] = json.loads(told)
        return self._told[client.name]


@pytest.fixture(scope="session")
def answers(service: Service) -> Answers:
    return Answers(service)


@pytest.mark.parametrize(("client", "name"), PAIRS)
async def test_a_client_gets_its_answer(answers: Answers, client: Client, name: str) -> None:
    case = CASES[name]

    told = (await answers.of(client))[name]

    assert case.answer.format(course=client.place.course) in told["text"]
    assert told["tools"] == (list(case.tools) if client.shows_tools else [])
    if case.streamed:
        assert told["pieces"] > 1


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
async def test_what_a_client_asked_for_was_done_once(
    answers: Answers, service: Service, client: Client
) -> None:
    await answers.of(client)

    taken = await service.column(
        "select section_id from enrolments where student_id = :who", who=client.place.student
    )
    mails = await service.column(
        "select o.id from outbox o join threads t on t.id = o.thread_id where t.principal = :who",
        who=client.place.student,
    )

    assert taken == [f"{client.place.course}-A"]
    assert len(mails) == 1
