from contextvars import copy_context

from twelvefold.core.owner import OWNER


def test_work_belongs_to_the_process_unless_its_context_has_an_owner() -> None:
    request = copy_context()
    request.run(OWNER.set, "ann")

    assert OWNER.get() == ""
    assert request.run(OWNER.get) == "ann"
