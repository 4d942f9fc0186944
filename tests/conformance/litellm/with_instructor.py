"""Instructor: an answer in the shape of a class, by a tool that the model has to call."""

import json
import sys
from typing import Any

import instructor
from openai import OpenAI
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather in a city."""

    city: str


questions = json.loads(sys.argv[1])
client = instructor.from_openai(OpenAI(), mode=instructor.Mode.TOOLS)


def ask(*texts: str) -> str:
    roles = ("user", "assistant")
    messages: Any = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    answer = client.chat.completions.create(
        model="enrolment", response_model=None, messages=messages
    )
    return str(answer.choices[0].message.content)


def streamed() -> dict[str, Any]:
    chunks = client.chat.completions.create(
        model="enrolment",
        response_model=None,
        messages=[{"role": "user", "content": questions["stream"]}],
        stream=True,
    )
    pieces = [piece for chunk in chunks if (piece := chunk.choices[0].delta.content)]
    return {"text": "".join(pieces), "tools": [], "pieces": len(pieces)}


def own_tool() -> str:
    weather = client.chat.completions.create(
        model="enrolment",
        response_model=Weather,
        messages=[{"role": "user", "content": questions["own_tool"]}],
        max_retries=1,
    )
    return f"18 degrees in {weather.city}"


first = ask(questions["tools"])
print(
    json.dumps(
        {
            "text": {"text": ask(questions["text"]), "tools": []},
            "tools": {"text": first, "tools": []},
            "second": {
                "text": ask(questions["tools"], first, questions["second"]),
                "tools": [],
            },
            "stream": streamed(),
            "own_tool": {"text": own_tool(), "tools": []},
        }
    )
)
