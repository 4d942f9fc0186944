"""The demo model: a few rules in the place of a model, over the same wire format as a real one.

`rules` decides what it says; `transport` is the server that it lacks, in this process.
"""

from twelvefold.services.model.demo.transport import NAME, Rules, open_demo, stream

__all__ = ["NAME", "Rules", "open_demo", "stream"]
