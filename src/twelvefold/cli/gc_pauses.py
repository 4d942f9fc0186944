"""How the garbage collector interrupts a process that serves others.

A collection stops the event loop while it visits objects, about a millisecond for each thousand of
them under load. Many short collections delay requests less than a few long ones.
"""

import gc

THRESHOLDS = (1_000, 5, 200)
"""New objects, then collections of the generation before. A full collection visits all objects."""


def bound_gc_pauses() -> None:
    """Exempt what was imported so far from collections, and collect new objects in small numbers.

    Call it when the services are open and no request has been served.
    """
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
