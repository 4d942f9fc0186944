"""The format of Chat Completions: requests and streamed replies."""

from twelvefold.services.model.openai.chat.request import CHAT

__all__ = ["CHAT"]
