"""A model behind the OpenAI API, over the Responses API or Chat Completions."""

from twelvefold.services.model.openai.client import OpenAIModel
from twelvefold.services.model.openai.settings import Api, ModelSettings

__all__ = ["Api", "ModelSettings", "OpenAIModel"]
