"""Factor II, dependencies: every import is declared, and no system program is needed."""

import asyncio
import re
import sys
from importlib.metadata import distribution, packages_distributions

from twelvefold.factors.harness import Report, TestBed, first_names
from twelvefold.factors.harness.source_code import imported_packages, parse_modules

PACKAGE = "twelvefold"


async def check_dependencies(bed: TestBed, report: Report) -> None:
    await asyncio.to_thread(_check_imports, report)
    process = await bed.processes.run(
        "run",
        "I want to learn databases",
        settings={"DATABASE_URL": f"sqlite:///{bed.directory}/dependencies.db"},
        audited=True,
    )
    programs = [entry["program"] for entry in process.audit_log() if "program" in entry]
    report.expect(
        process.exit_status == 0 and bool(process.output) and not programs,
        "`twelvefold run` with an empty PATH answered and started no other program",
        f"`twelvefold run` with an empty PATH exited with {process.exit_status} "
        f"({process.last_line}) and started {first_names(programs) or 'no program'}",
    )


def _check_imports(report: Report) -> None:
    declared = {distribution_name(one) for one in distribution(PACKAGE).requires or ()}
    distributions = packages_distributions()
    modules = parse_modules()
    imported: set[str] = set()
    undeclared: list[str] = []
    for path, module in modules.items():
        for name in set(imported_packages(module)) - {PACKAGE, *sys.stdlib_module_names}:
            imported.add(name)
            # The packages of an extra need not be installed.
            if not {distribution_name(one) for one in distributions.get(name, [name])} & declared:
                undeclared.append(f"{name} ({path})")
    report.expect(
        bool(imported) and not undeclared,
        f"{len(modules)} modules import {len(imported)} packages outside the standard library, "
        f"all from the {len(declared)} distributions that the metadata declares",
        f"imported but not declared: {first_names(sorted(undeclared))}",
    )


def distribution_name(requirement: str) -> str:
    """Return the name at the start of a requirement, normalized as in PEP 503."""
    found = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""
