"""Ports that tests choose: two tests that run at the same time never choose the same one."""

from tests.ports import FIRST_PORT, LAST_PORT, SHARES, free_port, ports_of


def test_each_worker_has_ports_of_its_own() -> None:
    ports = [port for number in range(SHARES) for port in ports_of(f"gw{number}")]

    assert sorted(ports) == [*range(FIRST_PORT, LAST_PORT + 1)]


def test_a_port_is_given_once() -> None:
    ports = [free_port() for _ in range(100)]

    assert len(set(ports)) == 100
