"""The rules of the demo model: from a request of the Responses API to the items of a reply.

They follow the tools of the enrolment workflow, and call any other tool that the user's words name.
Pure: the same request has the same reply.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from twelvefold.core import Item
from twelvefold.services.model.demo.conversation import (
    Call,
    Conversation,
    NoMatch,
    build_items,
    parse_conversation,
)
from twelvefold.services.model.demo.enrolment import enrolment_reply
from twelvefold.services.model.demo.structured_output import generate_value
from twelvefold.services.model.demo.tool_choice import (
    MIN_SCORE_IF_NAMED,
    choose_call,
    fill_arguments,
    is_greeting,
    placeholder_arguments,
    score_tool,
)

NOTICE = (
    "I am the built-in demo model: a few rules, not a language model. "
    "Set OPENAI_API_KEY to talk with a real one.\n\n"
)
NO_IMAGE_SUPPORT = (
    "I cannot see images: my rules read words alone. Tell me what you would like in words."
)
NO_FILE_SUPPORT = (
    "I cannot read files: my rules read words alone. Tell me what you would like in words."
)
_CATALOGUE_TOOLS = {"find_courses", "get_course"}
_ENROLMENT_TOOLS = _CATALOGUE_TOOLS | {
    "my_enrolments",
    "drop",
    "enrol",
    "find_alternatives",
    "send_welcome",
}
_OBSERVATION = re.compile(r"\W*Observation:\s*(.*\S)", re.DOTALL)
"""The form in which smolagents sends a result. It expects a call of `final_answer`."""


def reply(body: Mapping[str, Any]) -> list[Item]:
    """Return the reply to a request: one message, or one call of an available tool."""
    conversation = parse_conversation(body)
    answer = _required_call(conversation, body.get("tool_choice")) or _choose_reply(conversation)
    if isinstance(answer, Call) and answer.tool not in conversation.tools:
        answer = f"I would call {answer.tool} now, but it is not on offer."
    if not isinstance(answer, Call):
        answer = _format_answer(body, conversation, answer)
    return build_items(body, answer)


def _format_answer(
    body: Mapping[str, Any], conversation: Conversation, answer: NoMatch | str
) -> NoMatch | str:
    """Return the answer as JSON if the request requires that, otherwise as text.

    Without a match it stays a refusal in place of JSON: invented values would look like a result.
    """
    options = body.get("text")
    form = options.get("format") if isinstance(options, dict) else None
    if isinstance(answer, NoMatch):
        if isinstance(form, dict) and form.get("type") in ("json_schema", "json_object"):
            return answer
        answer = answer.text
    match form:
        case {"type": "json_schema", "schema": schema}:
            value = generate_value(schema, answer=answer, user_text=conversation.user_text)
            return json.dumps(value, ensure_ascii=False)
        case {"type": "json_object"}:
            return json.dumps({"answer": answer}, ensure_ascii=False)
        case _:
            return answer if conversation.model_text else NOTICE + answer


def _choose_reply(conversation: Conversation) -> Call | NoMatch | str:
    if conversation.attachments and not conversation.new_results:
        has_image = "input_image" in conversation.attachments
        return NO_IMAGE_SUPPORT if has_image else NO_FILE_SUPPORT
    if not conversation.tools.keys() >= _CATALOGUE_TOOLS:
        return choose_call(conversation)
    return _call_of_other_tool(conversation) or enrolment_reply(conversation)


def _required_call(conversation: Conversation, choice: object) -> Call | None:
    """Return the call that `tool_choice` requires, the best matching tool if it leaves a choice."""
    names = list(conversation.tools)
    if isinstance(choice, dict):
        names = [name for name in names if name == choice.get("name")]
    elif choice != "required":
        return None
    if not names:
        return None
    if "final_answer" in names and (found := _OBSERVATION.match(conversation.user_text)):
        return Call("final_answer", {"answer": found[1]})
    # With equal scores a caller that requires a call probably means its own tool.
    text, tools = conversation.user_text, conversation.tools
    name = max(
        names, key=lambda name: (score_tool(text, tools[name]), name not in _ENROLMENT_TOOLS)
    )
    arguments = fill_arguments(text, tools[name])
    if arguments.missing:
        return Call(name, placeholder_arguments(text, tools[name]))
    return Call(name, arguments.values)


def _call_of_other_tool(conversation: Conversation) -> Call | None:
    """Return the call of a tool outside the enrolment workflow, if the words name it."""
    if conversation.new_results or is_greeting(conversation.user_text):
        return None
    names = [name for name in conversation.tools if name not in _ENROLMENT_TOOLS]
    scores = [
        (score_tool(conversation.user_text, conversation.tools[name]), name) for name in names
    ]
    score, name = max(scores, default=(0, ""))
    if score < MIN_SCORE_IF_NAMED:
        return None
    arguments = fill_arguments(conversation.user_text, conversation.tools[name])
    return None if arguments.missing else Call(name, arguments.values)
