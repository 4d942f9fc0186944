"""The usage of runs, also of those that no worker has counted."""

from datetime import UTC, datetime
from pathlib import Path

from tests.builders import finished
from tests.services.store.builders import append, leased
from twelvefold.admin.usage import last_days, read_usage
from twelvefold.app.opening import open_checked_services
from twelvefold.config import Settings
from twelvefold.core import Usage, UsageFilter


async def test_usage_is_complete_without_a_worker(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/journal.db")
    async with open_checked_services(settings, with_model=False) as services:
        for _ in range(200):
            lease = await leased(services.store)
            spent = Usage(10, 1)
            await append(services.store, lease, 1, finished(), status="completed", usage=spent)

        filter = UsageFilter(*last_days(2), by=("workflow",))
        (found,) = await read_usage(services, filter, limit=5)

    assert (found.workflow, found.runs, found.input_tokens) == ("academy", 200, 2_000)


def test_the_last_days_are_those_of_utc() -> None:
    midnight = round(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000_000

    assert last_days(1, midnight - 1) == ("2026-11-30", "2026-11-30")
    assert last_days(30, midnight) == ("2026-11-02", "2026-12-01")
