"""The format of the Responses API: requests and streamed replies."""

from twelvefold.services.model.openai.responses.request import RESPONSES

__all__ = ["RESPONSES"]
