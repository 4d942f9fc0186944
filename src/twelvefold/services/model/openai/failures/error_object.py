"""Finds the error object in what a server sent, in each of the shapes that servers use."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twelvefold.services.model.errors import DECODE_ERRORS

_MESSAGE_FIELDS = ("message", "detail", "errors", "msg")
_REPLY_FIELDS = ("choices", "output", "response", "delta", "item", "id")


def find_error(sent: object) -> Mapping[str, Any] | None:
    """Return the error object in `sent`, None if there is no error.

    Its `message` is the readable text, if there is any.
    """
    if isinstance(sent, list):
        return next((error for one in sent if (error := find_error(one))), None)
    if not isinstance(sent, dict):
        return None
    error = sent.get("error")
    outer = {key: value for key, value in sent.items() if key not in ("error", "object")}
    if isinstance(error, dict) and error:
        return _with_upstream_message(error if error.get("message") else _with_message(error))
    if error:
        # Some servers put the kind of the error into `error` and its text into `message`.
        message = outer.get("message") or error
        return _with_message(outer if error is True else outer | {"message": message})
    if sent.get("object") == "error" or sent.get("type") == "error" or _is_bare_error(sent):
        return _with_message(outer)
    return _minimax_error(sent.get("base_resp"))


def _with_upstream_message(error: dict[str, Any]) -> dict[str, Any]:
    """Add the message of the upstream server to the error of a gateway (OpenRouter)."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if not raw:
        return error
    with suppress(*DECODE_ERRORS):
        raw = json.loads(raw) if isinstance(raw, str) else raw
    cause = (find_error(raw) or {}).get("message") or raw
    return error | {"message": f"{error.get('message') or 'upstream server'}: {cause}"}


def _minimax_error(status: object) -> dict[str, Any] | None:
    """Return the error of MiniMax, which sends it beside an empty reply as a status code."""
    if not isinstance(status, dict) or not status.get("status_code"):
        return None
    return {"message": status.get("status_msg") or f"status {status['status_code']}"}


def _is_bare_error(sent: dict[str, Any]) -> bool:
    """Return whether the object has a message or a detail and no field of a reply."""
    has_message = any(sent.get(name) for name in _MESSAGE_FIELDS)
    return has_message and not any(name in sent for name in _REPLY_FIELDS)


def _with_message(error: dict[str, Any]) -> dict[str, Any]:
    found = next((error[name] for name in _MESSAGE_FIELDS if error.get(name)), None)
    return error if found is None or found == error.get("message") else error | {"message": found}
