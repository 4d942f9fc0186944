"""What the checks of the factors run on: test bed, processes, databases, fake servers, report."""

from twelvefold.factors.harness.databases import TemporaryDatabases
from twelvefold.factors.harness.fake_collector import FakeCollector
from twelvefold.factors.harness.fake_model import Barrier, FakeModelServer
from twelvefold.factors.harness.fake_smtp import FakeSMTPServer
from twelvefold.factors.harness.machine_load import MachineLoad
from twelvefold.factors.harness.processes import (
    EXIT_BAD_SETTINGS,
    EXIT_TRY_AGAIN,
    Process,
    ReleaseProcesses,
)
from twelvefold.factors.harness.report import Report, Result, first_names
from twelvefold.factors.harness.testbed import TestBed, open_test_bed

__all__ = [
    "EXIT_BAD_SETTINGS",
    "EXIT_TRY_AGAIN",
    "Barrier",
    "FakeCollector",
    "FakeModelServer",
    "FakeSMTPServer",
    "MachineLoad",
    "Process",
    "ReleaseProcesses",
    "Report",
    "Result",
    "TemporaryDatabases",
    "TestBed",
    "first_names",
    "open_test_bed",
]
