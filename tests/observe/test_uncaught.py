"""Uncaught exceptions and warnings are logged without their messages."""

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


class Unraisable:
    def __del__(self):
        raise ValueError(canary)


def fail(text):
    raise ValueError(text)


thread = threading.Thread(target=fail, args=(canary,), name=canary)
thread.start()
thread.join()
Unraisable()
gc.collect()
warnings.warn(canary)
print(resource.getrlimit(resource.RLIMIT_CORE)[0])
fail(canary)
"""


def test_uncaught_errors_are_logged_without_their_message() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)

    assert done.returncode == 1
    assert "ann@" not in done.stderr
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == [
        "thread_failed",
        "ignored_exception",
        "python_warning",
        "uncaught_exception",
    ]


def test_a_process_has_no_core_dumps() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)

    assert done.stdout == "0\n"
