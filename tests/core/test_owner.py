"""The owner on whose behalf a task works."""

from contextvars import copy_context

from twelvefold.core.owner import OWNER


def test_a_new_context_inherits_the_owner_and_does_not_change_it() -> None:
    def work() -> str:
        inherited = OWNER.get()
        OWNER.set("bob")
        return inherited

    token = OWNER.set("ann")
    try:
        assert copy_context().run(work) == "ann"
        assert OWNER.get() == "ann"
    finally:
        OWNER.reset(token)

    assert OWNER.get() == ""
