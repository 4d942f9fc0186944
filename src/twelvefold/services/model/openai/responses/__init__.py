"""The Responses API: requests as JSON, and the events of their streams as replies."""

from twelvefold.services.model.openai.responses.request import RESPONSES

__all__ = ["RESPONSES"]
