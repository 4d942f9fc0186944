"""Exponential backoff with jitter."""

import random

from msgspec import Struct

_MAX_DOUBLINGS = 32


class Backoff(Struct, frozen=True):
    """How long to wait between attempts, in seconds: doubled after each, up to `longest_s`.

    Each pause is multiplied by a random factor between `jitter`, so that processes that failed
    together do not try again together.
    """

    first_s: float
    longest_s: float
    jitter: tuple[float, float] = (0.5, 1.0)

    def pause_s(self, attempts: int) -> float:
        """Return how long to wait after so many failed attempts, of which there is at least one."""
        doublings = min(attempts - 1, _MAX_DOUBLINGS)
        longest_s = min(self.first_s * 2.0**doublings, self.longest_s)
        return longest_s * random.uniform(*self.jitter)  # noqa: S311 - jitter, no secret
