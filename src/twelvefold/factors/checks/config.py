"""III, config: everything that differs between deploys comes from the environment, and alone."""

import asyncio
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from twelvefold.config import Settings, variables
from twelvefold.errors import SettingsError
from twelvefold.factors.harness.report import Witness
from twelvefold.factors.harness.source_code import HOME, compared_with, modules, reads_environment
from twelvefold.factors.harness.testbed import Scene

NAMED = ("production", "prod", "staging", "development", "dev", "testing", "preview", "qa")
READ_BY_THE_SYSTEM = ("/dev/", "/proc/", "/sys/", "/usr/", "/lib", "/etc/ssl/", "/etc/pki/")
OF_THE_SYSTEM = {
    *("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols", "/etc/localtime", "/etc/mime.types", "/etc/passwd"),
}
OTHERS = (
    *("7", "1500", "1.5", "debug", "text", "chat", "hidden", "none", "background", "x", "x:y"),
    *("0.5", "100000", "10.0.0.1", "https://h/v1", "amqp://h", "smtp://h", "mysql://u:p@h/d"),
)
"""A value of each kind that is nobody's default; the first that a setting takes is tried."""
TOGETHER = {
    "TLS_KEY": {"TLS_CERT": "cert.pem"},
    "MYSQL_": {"MYSQL_USER": "u", "MYSQL_DATABASE": "d"},
}
"""By how a name begins: what has to be set, too."""


async def config(scene: Scene, witness: Witness) -> None:
    await _no_file(scene, witness)
    await asyncio.to_thread(_code, witness)
    _orthogonal(witness)


def _code(witness: Witness) -> None:
    words = [f"{word} ({path})" for path, one in modules().items() for word in _named(path, one)]
    witness.expect(
        not words,
        f"none of {len(modules())} modules asks for an environment by name ({', '.join(NAMED)})",
        f"the code asks for {', '.join(words)}",
    )
    readers = [path.as_posix() for path, one in modules().items() if reads_environment(one)]
    witness.expect(
        readers == ["boot.py"],
        "the environment is read in one module, boot.py",
        f"the environment is read in {', '.join(readers)}",
    )


def _named(path: Path, module: object) -> Iterator[str]:
    if path.parts[0] != "factors":  # its own list of these words
        yield from compared_with(modules()[path], NAMED)


async def _no_file(scene: Scene, witness: Witness) -> None:
    file = f"{scene.directory}/config.db"
    running = await scene.release.start(
        "run",
        "I want to learn databases",
        settings={"DATABASE_URL": f"sqlite:///{file}", "LOG_FORMAT": "json"},
        watched=True,
        dotenv="LOG_FORMAT=text\nDATABASE_URL=sqlite:///file.db\n",
    )
    status = await running.ended()
    opened = [one["open"] for one in running.watched() if "open" in one and not one["writes"]]
    foreign = [path for path in opened if not _expected(path, file)]
    witness.expect(
        status == 0 and bool(opened) and not foreign,
        f"`twelvefold run` opened {len(opened)} files to read: Python's and its packages' own, the "
        "system's, the .env of its directory, and no other",
        f"`twelvefold run` ended with {status} and looked for {', '.join(foreign) or 'no file'}",
    )
    overridden = [
        *(["LOG_FORMAT"] if not running.errors else []),
        *(["DATABASE_URL"] if (running.home / "work" / "file.db").exists() else []),
    ]
    witness.expect(
        not overridden,
        "that .env set two variables that the environment sets, and overrode neither",
        f"a .env overrode {', '.join(overridden)} of the environment",
    )


def _expected(path: str, database: str) -> bool:
    # The directory of the embedded database, too: there is a lock on it while the file is made.
    if path in (".env", str(Path(database).parent)) or path in OF_THE_SYSTEM:
        return True
    code = {*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, str(HOME.parent)}
    places = (*READ_BY_THE_SYSTEM, database, *code, *(one for one in sys.path if one))
    return path.startswith(tuple(places))


def _orthogonal(witness: Witness) -> None:
    tried, wrong = 0, []
    for variable in variables():
        needed = (one for start, one in TOGETHER.items() if variable.name.startswith(start))
        together = next(needed, {})
        changed = _changed(variable.name, together)
        wanted = {variable.field or "database_url"}
        tried += 1
        if changed != wanted:
            wrong.append(f"{variable.name} changes {', '.join(sorted(changed)) or 'nothing'}")
    witness.expect(
        not wrong,
        f"{tried} variables, each set alone to another value: each changes its own setting only",
        "; ".join(wrong),
    )


def _changed(name: str, together: dict[str, str]) -> set[str]:
    """The fields that another value of this variable changes."""
    before = Settings.from_environ(together)
    for value in OTHERS:
        try:
            after = Settings.from_environ({**together, name: value})
        except SettingsError:
            continue
        found = {
            one.name
            for one in fields(Settings)
            if getattr(before, one.name) != getattr(after, one.name)
        }
        if found:
            return found
    return set()
