"""Runs a command with an audit hook: `python -P audit_hook.py OUT COMMAND …`.

Appends a JSON line to OUT for every file that the command opens and every program that it starts.
Run by its path, so that the hook is installed before anything of the package is imported.
Source: the audit events table of Python's documentation.
"""

import json
import os
import runpy
import sys

STARTS_PROGRAM = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")


def main() -> None:
    out = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, (str, bytes)):
                _append(out, {"open": os.fsdecode(path), "writes": _writes(mode, flags)})
        elif event in STARTS_PROGRAM:
            _append(out, {"program": str(arguments[0]) if arguments else event})

    sys.argv = ["twelvefold", *sys.argv[2:]]
    sys.addaudithook(hook)
    runpy.run_module("twelvefold", run_name="__main__")


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _append(out: int, entry: dict[str, object]) -> None:
    os.write(out, f"{json.dumps(entry)}\n".encode())


if __name__ == "__main__":
    main()
