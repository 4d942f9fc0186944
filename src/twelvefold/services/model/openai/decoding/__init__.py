"""From the bytes of a response to the events, the text and the usage of a reply."""

from twelvefold.services.model.openai.decoding.body import ResponseBody
from twelvefold.services.model.openai.decoding.reply_limits import REPLY_LIMITS, ReplyLimits
from twelvefold.services.model.openai.decoding.streamed_text import StreamedText
from twelvefold.services.model.openai.decoding.usage import UsageReader, with_estimates

__all__ = [
    "REPLY_LIMITS",
    "ReplyLimits",
    "ResponseBody",
    "StreamedText",
    "UsageReader",
    "with_estimates",
]
