"""Real MySQL for the tests: a MariaDB of this checkout's own, and others that a script starts.

`python -m tests.servers` says what it can do. Standard library only, so that `make` may call it
before anything is installed.
"""

from tests.servers.home import ServersError
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.scripts import (
    freeze_node,
    galera,
    group,
    join_node,
    kill_node,
    llm,
    mysql9,
    smtp,
)

__all__ = [
    "PrivateMariaDB",
    "ServersError",
    "freeze_node",
    "galera",
    "group",
    "join_node",
    "kill_node",
    "llm",
    "mysql9",
    "smtp",
]
