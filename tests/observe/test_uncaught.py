"""What Python prints by itself of exceptions and warnings is a log line without a message."""

import json
import subprocess
import sys

SCRIPT = """
import gc, resource, sys, threading, warnings
from twelvefold.cli.command import set_up_process
from twelvefold.observe.log import start_logging

canary = "ann@" + "example.org"
start_logging(sys.stderr)
set_up_process()


class Odd:
    def __del__(self):
        raise ValueError(canary)


def fail(said):
    raise ValueError(said)


thread = threading.Thread(target=fail, args=(canary,), name=canary)
thread.start()
thread.join()
Odd()
gc.collect()
warnings.warn(canary)
print(resource.getrlimit(resource.RLIMIT_CORE)[0])
fail(canary)
"""


def test_what_nothing_catches_is_logged_without_its_message() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)

    assert done.returncode == 1
    assert "ann@" not in done.stderr
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == [
        "thread_failed",
        "ignored_exception",
        "python_warning",
        "uncaught_exception",
    ]


def test_a_process_leaves_no_core_dump() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)

    assert done.stdout == "0\n"
