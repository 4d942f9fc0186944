"""The contenders by name, in the order of the tables."""

from bench.processes import ROOT, Entrant, Part, Version, source_environment

MEMORY = "bare loop, tools in memory"
FLOOR = "bare loop, tools on the database"
COMMITS = "five commits, no engine"
ONE_BY_ONE = "… one statement per packet"
DRIVER = "… with the other driver"
OURS = "Twelvefold"
HTTP = "Twelvefold over HTTP"
HTTP_STREAMED = "Twelvefold over HTTP, streamed"
STREAMED = ("--streamed",)
ALL: tuple[Part, ...] = ("pairs", "bursts", "turns")


def loops(url: str, driver_python: str | None) -> list[Entrant]:
    """Return the contenders without Twelvefold.

    `driver_python`: an interpreter whose environment has another `asyncmy`.
    """
    own = source_environment(ROOT)
    commits = "bench.five_commits"
    found = [
        Entrant(f"{MEMORY}, whole replies", "bench.bare_loop", (), "", own),
        Entrant(MEMORY, "bench.bare_loop", STREAMED, "", own, parts=("bursts", "turns")),
        Entrant(FLOOR, "bench.database_loop", STREAMED, url, own, parts=ALL),
        Entrant(COMMITS, commits, STREAMED, url, own, parts=ALL),
        Entrant(ONE_BY_ONE, commits, (*STREAMED, "--one-by-one"), url, own),
        Entrant("openai SDK loop, tools in memory", "bench.sdk_loop", (), "", own),
        Entrant("… Chat Completions", "bench.sdk_loop", ("--chat",), "", own),
    ]
    if driver_python:
        found.insert(4, Entrant(DRIVER, commits, STREAMED, url, own, driver_python))
    return found


def twelvefold(version: Version) -> list[Entrant]:
    """Return the contenders that are Twelvefold from one checkout."""
    url, own, suffix = version.mysql_url, version.environment, version.suffix
    return [
        Entrant(OURS + suffix, "bench.durable", STREAMED, url, own, parts=ALL),
        Entrant(HTTP + suffix, "bench.over_http", (), url, own),
        Entrant(HTTP_STREAMED + suffix, "bench.over_http", STREAMED, url, own),
    ]
