"""The twelve factors in order, each with its check. Source of the names: 12factor.net."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from twelvefold.errors import SettingsError
from twelvefold.factors.checks.admin_processes import check_admin_processes
from twelvefold.factors.checks.backing_services import check_backing_services
from twelvefold.factors.checks.build_release_run import check_build_release_run
from twelvefold.factors.checks.codebase import check_codebase
from twelvefold.factors.checks.concurrency import check_concurrency
from twelvefold.factors.checks.config import check_config
from twelvefold.factors.checks.dependencies import check_dependencies
from twelvefold.factors.checks.dev_prod_parity import check_dev_prod_parity
from twelvefold.factors.checks.disposability import check_disposability
from twelvefold.factors.checks.logs import check_logs
from twelvefold.factors.checks.port_binding import check_port_binding
from twelvefold.factors.checks.processes import check_processes
from twelvefold.factors.harness import Report, TestBed

Check = Callable[[TestBed, Report], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Factor:
    number: str
    name: str
    check: Check


FACTORS = (
    Factor("I", "Codebase", check_codebase),
    Factor("II", "Dependencies", check_dependencies),
    Factor("III", "Config", check_config),
    Factor("IV", "Backing services", check_backing_services),
    Factor("V", "Build, release, run", check_build_release_run),
    Factor("VI", "Processes", check_processes),
    Factor("VII", "Port binding", check_port_binding),
    Factor("VIII", "Concurrency", check_concurrency),
    Factor("IX", "Disposability", check_disposability),
    Factor("X", "Dev/prod parity", check_dev_prod_parity),
    Factor("XI", "Logs", check_logs),
    Factor("XII", "Admin processes", check_admin_processes),
)


def select_factors(numbers: Sequence[str]) -> tuple[Factor, ...]:
    """Return the factors with these numbers, in any case, or all without a number.

    Raises SettingsError for an unknown number.
    """
    wanted = {number.upper() for number in numbers}
    if unknown := sorted(wanted - {factor.number for factor in FACTORS}):
        raise SettingsError(f"unknown factor {', '.join(unknown)}; use I to XII")
    return tuple(factor for factor in FACTORS if not wanted or factor.number in wanted)
