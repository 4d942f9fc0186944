"""The processes that the checks start."""

from pathlib import Path

from twelvefold.factors.harness import MachineLoad
from twelvefold.factors.harness.processes import FIRST_PORT, LAST_PORT, ReleaseProcesses


def test_ports_differ_and_are_none_that_the_system_gives_to_connections(tmp_path: Path) -> None:
    processes = ReleaseProcesses({}, tmp_path, MachineLoad(lambda: 1.0))

    ports = [processes.free_port() for _ in range(50)]

    assert len(set(ports)) == 50
    assert all(FIRST_PORT <= port <= LAST_PORT for port in ports)
