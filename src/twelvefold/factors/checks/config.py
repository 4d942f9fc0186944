"""Factor III, config: everything that differs between deploys is an environment variable."""

import ast
import asyncio
import sys
import sysconfig
from dataclasses import fields
from pathlib import Path

from twelvefold.config import Settings, list_variables
from twelvefold.errors import SettingsError
from twelvefold.factors.checks.rotation import check_rotation
from twelvefold.factors.harness import Process, Report, TestBed
from twelvefold.factors.harness.source_code import (
    PACKAGE_DIRECTORY,
    compared_constants,
    parse_modules,
    reads_environment,
)

ENVIRONMENTS = ("production", "prod", "staging", "development", "dev", "testing", "preview", "qa")
SYSTEM_DIRECTORIES = ("/dev/", "/proc/", "/sys/", "/usr/", "/lib", "/etc/ssl/", "/etc/pki/")
SYSTEM_FILES = {
    *("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols", "/etc/localtime", "/etc/mime.types", "/etc/passwd"),
}
SAMPLE_VALUES = (
    *("7", "1500", "1.5", "debug", "text", "chat", "hidden", "none", "background", "x", "x:y"),
    *("0.5", "100000", "10.0.0.1", "https://h/v1", "amqp://h", "smtp://h", "mysql://u:p@h/d"),
    *("image", "nested", '{"fast": {"url": "https://h/v1", "model": "m"}}'),
    '{"input": 1, "output": 2}',
)
"""Values of every kind, none of them a default. A variable gets the first that it accepts."""
REQUIRED_WITH = {
    "TLS_KEY": {"TLS_CERT": "cert.pem"},
    "DATABASE_PASSWORD_FILE": {"DATABASE_URL": "mysql://u@h/d"},
    "SMTP_PASSWORD_FILE": {"SMTP_URL": "smtp://u@h"},
    "BROKER_PASSWORD_FILE": {"BROKER_URL": "amqp://u@h"},
    "MYSQL_": {"MYSQL_USER": "u", "MYSQL_DATABASE": "d"},
}
"""Variables that are valid only together with others, by prefix."""
DOTENV = "LOG_FORMAT=text\nDATABASE_URL=sqlite:///file.db\n"


async def check_config(bed: TestBed, report: Report) -> None:
    await _check_files(bed, report)
    await asyncio.to_thread(_check_source_code, report)
    _check_variables(report)
    await check_rotation(bed, report)


async def _check_files(bed: TestBed, report: Report) -> None:
    database = f"{bed.directory}/config.db"
    process = await bed.processes.start(
        "run",
        "I want to learn databases",
        settings={"DATABASE_URL": f"sqlite:///{database}", "LOG_FORMAT": "json"},
        audited=True,
        dotenv=DOTENV,
    )
    status = await process.wait()
    entries = [entry for entry in process.audit_log() if "open" in entry and not entry["writes"]]
    unexpected = [entry["open"] for entry in entries if not _is_expected(entry["open"], database)]
    report.expect(
        status == 0 and bool(entries) and not unexpected,
        f"`twelvefold run` opened {len(entries)} files for reading: Python, its packages, system "
        "files and the .env of the working directory; no configuration file",
        f"`twelvefold run` exited with {status} and opened {', '.join(unexpected) or 'no file'}",
    )
    _check_dotenv(process, report)


def _is_expected(path: str, database: str) -> bool:
    # The directory of the embedded database is locked while the file is created.
    if path in (".env", str(Path(database).parent)) or path in SYSTEM_FILES:
        return True
    code = {
        *sysconfig.get_paths().values(),
        *(sys.prefix, sys.base_prefix, str(PACKAGE_DIRECTORY.parent)),
        *(entry for entry in sys.path if entry),
    }
    return path.startswith((*SYSTEM_DIRECTORIES, database, *code))


def _check_dotenv(process: Process, report: Report) -> None:
    """Expect that `DOTENV` did not override the environment of the process."""
    overridden = [
        *(["LOG_FORMAT"] if not process.command_log else []),
        *(["DATABASE_URL"] if (process.files.work / "file.db").exists() else []),
    ]
    report.expect(
        not overridden,
        "the .env set two variables that the environment also set, and overrode neither",
        f"a .env overrode {', '.join(overridden)} of the environment",
    )


def _check_source_code(report: Report) -> None:
    modules = parse_modules()
    named = [f"{word} ({path})" for path in modules for word in _environments(path, modules[path])]
    report.expect(
        not named,
        f"none of {len(modules)} modules compares with the name of an environment "
        f"({', '.join(ENVIRONMENTS)})",
        f"the code compares with the name of an environment: {', '.join(named)}",
    )
    readers = [path.as_posix() for path in modules if reads_environment(modules[path])]
    report.expect(
        readers == ["boot/environment.py"],
        "only one module, boot/environment.py, reads the environment",
        f"the environment is read in {', '.join(readers)}",
    )


def _environments(path: Path, module: ast.Module) -> list[str]:
    if path.parts[0] == "factors":  # contains the list of names itself
        return []
    return list(compared_constants(module, ENVIRONMENTS))


def _check_variables(report: Report) -> None:
    table, errors = list(list_variables()), []
    for variable in table:
        changed = _changed_fields(variable.name)
        if changed != {variable.field or "database_url"}:
            changes = ", ".join(sorted(changed)) or "nothing"
            errors.append(f"{variable.name} changes {changes}")
    report.expect(
        not errors,
        f"each of {len(table)} variables, set alone, changed its own setting and no other",
        "; ".join(errors),
    )


def _changed_fields(name: str) -> set[str]:
    """Return the fields of Settings that another value of this variable changes."""
    prefixes = (prefix for prefix in REQUIRED_WITH if name.startswith(prefix))
    required = REQUIRED_WITH.get(next(prefixes, ""), {})
    before = Settings.from_environ(required)
    for value in SAMPLE_VALUES:
        try:
            after = Settings.from_environ({**required, name: value})
        except SettingsError:
            continue
        names = [field.name for field in fields(Settings)]
        if changed := {one for one in names if getattr(before, one) != getattr(after, one)}:
            return changed
    return set()
