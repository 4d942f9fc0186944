"""The demo model: rules instead of a language model, over the same wire format.

`rules` creates the replies; `transport` replaces the server within this process.
"""

from twelvefold.services.model.demo.transport import MODEL_NAME, Rules, open_demo, response_events

__all__ = ["MODEL_NAME", "Rules", "open_demo", "response_events"]
