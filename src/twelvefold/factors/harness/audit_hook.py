"""A command of the release under watch: `python -m …harness.audit_hook OUT COMMAND …`.

What the interpreter reports of it (files opened, programs started) goes to OUT, a JSON line each.
Source: the audit events table of Python's documentation.
"""

import json
import os
import runpy
import sys

PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")


def main() -> None:
    out = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def hook(event: str, details: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = details
            if isinstance(path, (str, bytes)):
                _tell(out, {"open": os.fsdecode(path), "writes": _writes(mode, flags)})
        elif event in PROGRAMS:
            _tell(out, {"program": str(details[0]) if details else event})

    sys.argv = ["twelvefold", *sys.argv[2:]]
    sys.addaudithook(hook)
    runpy.run_module("twelvefold", run_name="__main__")


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _tell(out: int, what: dict[str, object]) -> None:
    os.write(out, f"{json.dumps(what)}\n".encode())


if __name__ == "__main__":
    main()
