"""A model of MODELS: its errors name its fields, where those of the client name variables."""

import re
from collections.abc import Mapping

from twelvefold.core import Listener, Model, ModelReply, ModelRequest
from twelvefold.errors import ModelRejected, ModelUnavailable

_FIELDS: Mapping[str, str] = {
    "OPENAI_API_KEY": "key",
    "OPENAI_BASE_URL": "url",
    "OPENAI_API": "api",
    "OPENAI_MODEL": "model",
    "OPENAI_MAX_OUTPUT_TOKENS": "max_output_tokens",
    "OPENAI_CONTEXT_TOKENS": "window",
}
_VARIABLE = re.compile(rf"\b(?:{'|'.join(sorted(_FIELDS, key=len, reverse=True))})\b")


class NamedModel:
    """Passes requests on to `model`, whose name in MODELS is `name`."""

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self._model = model

    async def reply(self, request: ModelRequest, listener: Listener) -> ModelReply:
        """Implement `Model.reply`."""
        try:
            return await self._model.reply(request, listener)
        except (ModelUnavailable, ModelRejected) as error:
            name_fields(self.name, error)
            raise

    def prepare(self) -> None:
        """Prepare the model, if it can be prepared."""
        if callable(prepare := getattr(self._model, "prepare", None)):
            prepare()

    async def close(self) -> None:
        await self._model.close()


def name_fields(model: str, error: ModelUnavailable | ModelRejected) -> None:
    """Name in an error the fields of this model in MODELS in place of variables."""

    def rename(text: str) -> str:
        return _VARIABLE.sub(lambda match: f"MODELS: {model}.{_FIELDS[match[0]]}", text)

    error.args = (rename(str(error)),)
    error.log_text = rename(error.log_text)
