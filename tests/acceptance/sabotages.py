"""A break of each factor: an edit of the release after which its own row fails, and no other."""

from tests.acceptance.installed import Sabotage

NUMBERS = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")
SABOTAGES = (
    Sabotage(
        "I",
        "somebody changed an installed file",
        "errors.py",
        added="# a hot fix, on this machine alone\n",
        hidden=True,
    ),
    Sabotage(
        "II",
        "a module imports what another package happens to bring",
        "web/http/middleware.py",
        added="import multidict\n",
    ),
    Sabotage(
        "III",
        "a file in /etc has defaults",
        "boot/environment.py",
        (("    return dict(os.environ)\n", "    return {**_of_this_machine(), **os.environ}\n"),),
        """

def _of_this_machine() -> dict[str, str]:
    from pathlib import Path

    try:
        lines = Path("/etc/twelvefold.conf").read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines)
""",
    ),
    Sabotage(
        "IV",
        "mail goes to the machine's own server, whatever the URL says",
        "services/mail/__init__.py",
        (("Server.parse(smtp_url, password)", 'Server.parse("smtp://localhost")'),),
    ),
    Sabotage(
        "V",
        "the log does not say which release wrote it",
        "observe/log.py",
        (("            **self._release,\n", ""),),
    ),
    Sabotage(
        "VI",
        "a web process knows only the responses that it made itself",
        "web/runs/create.py",
        (
            (
                "        target = await resolve_target(",
                "        if request.previous and request.previous not in _KNOWN:\n"
                '            raise ApiError(404, "there is no such response")\n'
                "        target = await resolve_target(",
            ),
            (
                "            web.start_drive(held, ",
                "            _KNOWN.add(str(ResponseId(held.run)))\n"
                "            web.start_drive(held, ",
            ),
        ),
        "\n_KNOWN: set[str] = set()\n",
    ),
    Sabotage(
        "VII",
        "web listens at every address, for the sake of a server in front of it",
        "web/server.py",
        (("in _addresses(host, port)", 'in _addresses("0.0.0.0", port)'),),
    ),
    Sabotage(
        "VIII",
        "a worker that takes a run up does not keep it from the others",
        "services/store/queries/runs.sql",
        (
            (
                "status = 'running', lease_token = :token, lease_until = {now_us} + :lease_us",
                "status = 'running', lease_token = :token, lease_until = {now_us} + 0 * :lease_us",
            ),
        ),
    ),
    Sabotage(
        "IX",
        "a worker drops everything at SIGTERM",
        "cli/worker.py",
        (
            (
                "    stop = asyncio.Event()\n",
                "    stop = asyncio.Event()\n    stop.set = lambda: os._exit(1)\n",
            ),
            ("import asyncio\n", "import asyncio\nimport os\n"),
        ),
    ),
    Sabotage(
        "X",
        "any server will do",
        "services/store/mysql/store.py",
        (
            (
                '        return list(find_problems(variables, [row["name"] for row in others]))\n',
                "        return []\n",
            ),
        ),
    ),
    Sabotage(
        "XI",
        "the log goes to a file, too",
        "observe/log.py",
        (("= [handler]", '= [handler, logging.FileHandler("twelvefold.log")]'),),
    ),
    Sabotage(
        "XII",
        "whatever starts brings the database up to date",
        "admin/migrate.py",
        (
            (
                "        await _prepare_file(settings, services, file)\n",
                "        await _prepare_file(settings, services, file)\n"
                "    else:\n"
                "        await migrate(settings, services)\n",
            ),
        ),
    ),
)
