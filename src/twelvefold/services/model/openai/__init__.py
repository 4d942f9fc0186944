"""A model behind the OpenAI API, either over the Responses API or over Chat Completions."""

from twelvefold.services.model.openai.client import Api, ModelSettings, OpenAIModel

__all__ = ["Api", "ModelSettings", "OpenAIModel"]
