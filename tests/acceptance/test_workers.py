"""Workers share one database: whichever of them dies or is told to end, each run has one end."""

import os

import pytest

from tests import servers
from tests.acceptance.workers import enrolments, own_sink

pytestmark = [pytest.mark.mysql, pytest.mark.timeout(900)]
URL = os.environ.get("DATABASE_URL", "")


@pytest.fixture(autouse=True)
def _server() -> None:
    if not URL.startswith(("mysql", "mariadb")):
        pytest.fail("DATABASE_URL names no MySQL: python -m tests.servers run -- pytest starts one")


async def test_one_worker_killed_and_one_told_to_end_every_enrolment_is_made_once() -> None:
    async with own_sink() as mail:
        report = await enrolments(URL, 30, mail=mail, hurry=True)

    assert report.why == ()


@pytest.mark.slow
async def test_of_two_hundred_enrolments_every_welcome_mail_reaches_a_real_server() -> None:
    report = await enrolments(URL, 200, mail=servers.smtp())

    assert report.why == ()
