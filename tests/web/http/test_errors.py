"""The error response of an exception."""

from twelvefold.errors import InsufficientQuota, MigrationUnfinished, StoreUnavailable
from twelvefold.web.http.errors import RESERVED_RETRY_S, api_error


def test_a_database_that_does_not_answer_is_no_matter_of_its_error_message() -> None:
    error = api_error(StoreUnavailable("10.0.0.7 refuses the connection"), may_repeat=True)

    assert (error.status, error.code) == (503, "service_unavailable")
    assert str(error) == "the database does not answer; try again in a moment"


def test_an_unfinished_migration_is_named_with_the_command_that_finishes_it() -> None:
    message = "workflow desk needs a database on which no older release works: … --finish"

    error = api_error(MigrationUnfinished(message), may_repeat=True)

    assert (error.status, error.code) == (503, "service_unavailable")
    assert str(error) == message


def test_a_budget_that_is_too_small_for_the_call_has_no_time_to_retry() -> None:
    error = api_error(InsufficientQuota("too small", renews_us=5_000_000), may_repeat=True)

    assert (error.status, error.code) == (429, "insufficient_quota")
    assert error.headers == {"x-should-retry": "false"}


def test_reserved_room_of_a_budget_is_tried_again_before_the_budget_renews() -> None:
    for is_reserved, wait_s in ((True, RESERVED_RETRY_S), (False, 5_000)):
        full = InsufficientQuota("full", renews_in_s=5_000.0, is_reserved=is_reserved)

        error = api_error(full, may_repeat=True)

        assert (error.status, error.code) == (429, "insufficient_quota")
        assert error.headers["retry-after"] == str(wait_s)
