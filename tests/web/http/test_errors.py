"""The error response of an exception."""

from twelvefold.errors import MigrationUnfinished, StoreUnavailable
from twelvefold.web.http.errors import api_error


def test_a_database_that_does_not_answer_is_no_matter_of_its_error_message() -> None:
    error = api_error(StoreUnavailable("10.0.0.7 refuses the connection"), may_repeat=True)

    assert (error.status, error.code) == (503, "service_unavailable")
    assert str(error) == "the database does not answer; try again in a moment"


def test_an_unfinished_migration_is_named_with_the_command_that_finishes_it() -> None:
    message = "workflow desk needs a database on which no older release works: … --finish"

    error = api_error(MigrationUnfinished(message), may_repeat=True)

    assert (error.status, error.code) == (503, "service_unavailable")
    assert str(error) == message
