"""Chat Completions: requests as JSON, and the chunks of their streams as replies."""

from twelvefold.services.model.openai.chat.request import CHAT

__all__ = ["CHAT"]
