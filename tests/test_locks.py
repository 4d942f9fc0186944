"""The two locks: the runtime's is a part of the whole one, and has what the package names."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^ ;\\]+)", re.MULTILINE)
HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


def pins(file: str) -> dict[str, tuple[str, frozenset[str]]]:
    """The version and the hashes of each package."""
    text = (ROOT / file).read_text()
    found = list(PIN.finditer(text))
    ends = [one.start() for one in found[1:]] + [len(text)]
    return {
        one["name"]: (one["version"], frozenset(HASH.findall(text[one.start() : end])))
        for one, end in zip(found, ends, strict=True)
    }


def test_what_runs_is_what_was_tested() -> None:
    whole, runtime = pins("requirements.txt"), pins("requirements-runtime.txt")

    assert {name: whole.get(name) for name in runtime} == runtime
    assert all(hashes for _, hashes in whole.values())


def test_what_runs_is_what_the_package_needs_and_no_tool() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = named["project"]["optional-dependencies"]
    # The image has RabbitMQ's client and OpenTelemetry. A team that has Celery installs Twelvefold
    # beside it.
    needed = [*named["project"]["dependencies"], *extras["rabbitmq"], *extras["otel"]]
    tools = named["dependency-groups"]["dev"]
    runtime = pins("requirements-runtime.txt").keys()

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[>=<; ]", one)[0].lower() for one in requirements}

    assert names(needed) <= runtime
    assert runtime.isdisjoint(names([*tools, *extras["celery"]]) - names(needed))
