"""The Celery adapter on a real RabbitMQ, with faults: no effect occurs twice, none is lost."""

import os
import subprocess
import sys

import pytest

from tests import servers
from tests.acceptance.celery_tools.comparison import ROOT

pytestmark = [pytest.mark.mysql, pytest.mark.slow, pytest.mark.timeout(1_800)]


def test_the_adapter_does_nothing_twice() -> None:
    command = [sys.executable, "-m", "tests.acceptance.celery_tools.comparison", "--orders", "40"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"BROKER": servers.RabbitMQ().url},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr[-2_000:]
    plain = [line for line in done.stdout.splitlines() if "| plain Celery |" in line]
    adapter = [line for line in done.stdout.splitlines() if "| the adapter |" in line]
    assert [line.endswith("| 0 | 0 |") for line in adapter] == [True, True]
    assert not plain[0].endswith("| 0 | 0 |"), "the fault had no effect"
