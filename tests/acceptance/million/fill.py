"""A database as a large deployment leaves it: many runs of many principals, written by SQL.

    python -m tests.acceptance.million.fill URL --threads 500000

Each thread has two runs. Nothing here is random: the same number of threads gives the same rows.
"""

import argparse
import asyncio
import hashlib
from collections.abc import Iterator

from twelvefold.boot import now_us
from twelvefold.core import ApiKey, Store
from twelvefold.services.store import open_store
from twelvefold.services.store.migrate import migrate

BATCH = 25_000
"""Threads of one transaction."""
DAYS = 60
DAY_US = 86_400_000_000
PRINCIPALS = 1_000
WORKFLOWS = ("support", "billing", "orders", "research", "returns", "onboarding")
RARE = "retired"
"""A workflow that one thread in 50,000 has."""
KEYS = 1_000
OPERATOR = f"tw_{'o' * 43}"
_NUMBERS = (
    "WITH RECURSIVE n (k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM n WHERE k < 999), "
    "made (i) AS (SELECT a.k + 1000 * b.k + {first} FROM n a CROSS JOIN n b "
    "WHERE b.k < {thousands} AND a.k + 1000 * b.k + {first} < {end}) "
)
_WORKFLOW = (
    f"CASE WHEN MOD(i, 50000) = 7 THEN '{RARE}' ELSE ELT(1 + MOD(i * 31, {len(WORKFLOWS)}), "
    + ", ".join(f"'{name}'" for name in WORKFLOWS)
    + ") END"
)
_PRINCIPAL = (
    "CASE WHEN MOD(i * 13, 10) < 2 THEN 'large-tenant' "
    f"ELSE CONCAT('user-', LPAD(MOD(i * 7919, {PRINCIPALS}), 4, '0')) END"
)
_STATUS = (
    "CASE WHEN MOD(i * 37, 1000) < 940 THEN 'completed' WHEN MOD(i * 37, 1000) < 970 THEN 'failed' "
    "WHEN MOD(i * 37, 1000) < 980 THEN 'cancelled' WHEN MOD(i * 37, 1000) < 990 THEN 'incomplete' "
    "WHEN MOD(i * 37, 1000) < 996 THEN 'waiting' WHEN MOD(i * 37, 1000) < 999 THEN 'queued' "
    "ELSE 'running' END"
)
_ERROR = (
    "CASE WHEN MOD(i * 37, 1000) BETWEEN 940 AND 969 THEN ELT(1 + MOD(i, 4), "
    "CONCAT('tool charge raised TimeoutError: no answer from bank ', MOD(i, 97)), "
    "'the model gave no usable reply: 503 Service Unavailable', "
    "CONCAT('tool refund raised ValueError: no order ', i), 'step_limit') ELSE '' END"
)
_TIME = "{start} + i * {step}"
_ID = (
    "CONCAT(LPAD(LOWER(HEX(FLOOR(at_us / 1000))), 12, '0'), LPAD(LOWER(HEX(MOD(i * 2654435761, "
    "4294967296))), 8, '0'), LPAD(LOWER(HEX(FLOOR(at_us / 1000))), 12, '0'), "
    "LPAD(LOWER(HEX(i)), 12, '0'))"
)
_THREADS = (
    "SELECT t.*, " + _ID + " AS thread FROM (SELECT i, " + _TIME + " AS at_us, "
    f"{_WORKFLOW} AS workflow, {_PRINCIPAL} AS principal, {_STATUS} AS status, {_ERROR} AS error "
    "FROM made) t"
)
_USAGE = (
    "CONCAT('{\"input_tokens\":', 200 + MOD(i * 17, 4000), ',\"output_tokens\":', "
    "20 + MOD(i * 29, 700), ',\"cached_tokens\":', MOD(i * 17, 150), '}')"
)
_IS_OVER = "status IN ('completed', 'failed', 'cancelled', 'incomplete')"
_STARTED = (
    'CONCAT(\'{"items":[{"type":"message","role":"user","content":"Where is order \', '
    'i, \'?"}],"principal":"\', principal, \'","workflow":"\', workflow, '
    '\'","release":"1.4.0","asked":{}}\')'
)
_APPROVAL = (
    '\'{"items":[{"type":"function_call","call_id":"c1","name":"refund","arguments":"{}"}],'
    '"usage":{"input_tokens":300,"output_tokens":20},"model":"gpt-5-mini",'
    '"request_hash":"abababab"}\''
)
_ASKED = '\'{"call":"4.0","tool":"refund"}\''


def _statements(first: int, end: int, start_us: int, step_us: int) -> Iterator[str]:
    """Yield the statements that write the threads `first` to `end` - 1."""
    numbers = _NUMBERS.format(first=first, end=end, thousands=1 + (end - first - 1) // 1000)
    threads = numbers + "SELECT {0} FROM (" + _THREADS.format(start=start_us, step=step_us) + ") m"
    yield (
        "INSERT INTO threads (id, principal, workflow, head, created_at, metadata, listed, title, "
        "size) "
        + threads.format(
            f"thread, principal, workflow, CASE WHEN {_IS_OVER} THEN 4 WHEN status = 'waiting' "
            "THEN 5 ELSE 3 END, at_us, '', 1, CONCAT('Where is order ', i, '?'), 900"
        )
    )
    columns = (
        "INSERT INTO runs (thread_id, ordinal, status, lease_token, lease_until, background, "
        "cancel_asked, `usage`, error, release_id, created_at, finished_at, workflow, principal, "
        "began, attempts, counted) "
    )
    lease = f"CASE WHEN status = 'running' THEN {start_us + 2 * DAYS * DAY_US} ELSE 0 END"
    yield columns + threads.format(
        f"thread, 1, 'completed', '', 0, 0, 0, {_USAGE}, '', '1.3.2', at_us, at_us + 4000000, "
        "workflow, principal, 1, 0, 1"
    )
    yield columns + threads.format(
        f"thread, 2, status, '', {lease}, 1, 0, {_USAGE}, error, '1.4.0', at_us + 3600000000, "
        f"CASE WHEN {_IS_OVER} THEN at_us + 3607000000 END, workflow, principal, 3, 0, "
        f"CASE WHEN {_IS_OVER} THEN 1 END"
    )
    events = "INSERT INTO events (thread_id, position, run, type, version, body, at_us) "
    for position, run, type, body, where in (
        (1, 1, "RunStarted", _STARTED, ""),
        (2, 1, "RunFinished", '\'{"status":"completed"}\'', ""),
        (3, 2, "RunStarted", _STARTED, ""),
        (4, 2, "RunFinished", "CONCAT('{\"status\":\"', status, '\"}')", f"WHERE {_IS_OVER}"),
        (4, 2, "ModelReplied", _APPROVAL, "WHERE status = 'waiting'"),
        (5, 2, "ApprovalAsked", _ASKED, "WHERE status = 'waiting'"),
    ):
        at = f"at_us + {(position - 1) * 1_000_000 + (run - 1) * 3_600_000_000}"
        row = f"thread, {position}, {run}, '{type}', 1, {body}, {at}"
        yield f"{events}{threads.format(row)} {where}"


_MAIL = '{"to":"ann@example.org","subject":"Your order","text":"It is on its way."}'
_OUTBOX = (
    "INSERT INTO outbox (id, thread_id, kind, body, attempts, due_at, sent_at, error, dead_at) "
    "SELECT CONCAT('mail_', LPAD(ordinal * 1000000000 + created_at % 1000000000, 24, '0'), "
    "SUBSTRING(thread_id, 33, 12)), thread_id, 'mail', "
    "'{mail}', 1, "
    "created_at, CASE WHEN status IN ('completed', 'cancelled') THEN created_at + 1000000 END, "
    "CASE WHEN status NOT IN ('completed', 'cancelled') THEN '451 try again' END, "
    "CASE WHEN status = 'failed' THEN created_at + 5000000 END "
    "FROM runs WHERE ordinal = 2 AND created_at >= {since}"
)
_SIGNALS = (
    "INSERT INTO signals "
    "(id, workflow, principal, event_key, payload, sender, created_at, sent_at) "
    "SELECT thread_id, workflow, principal, CONCAT('payment:', created_at), NULL, NULL, "
    "created_at, NULL FROM runs WHERE status = 'waiting'"
)
_SUMS = (
    "INSERT INTO {table} ({keys}, runs, failed, input_tokens, output_tokens, cached_tokens, "
    "micro_usd) SELECT DATE_FORMAT(FROM_UNIXTIME(finished_at / 1000000), '%Y-%m-%d') AS day, "
    "{names}, COUNT(*), SUM(status = 'failed'), SUM(JSON_VALUE(`usage`, '$.input_tokens')), "
    "SUM(JSON_VALUE(`usage`, '$.output_tokens')), SUM(JSON_VALUE(`usage`, '$.cached_tokens')), "
    "SUM(JSON_VALUE(`usage`, '$.input_tokens')) FROM runs "
    "WHERE counted = 1 AND created_at >= {since} AND created_at < {until} GROUP BY day, {names} "
    "ON DUPLICATE KEY UPDATE runs = {table}.runs + VALUES(runs), "
    "input_tokens = {table}.input_tokens + VALUES(input_tokens), "
    "output_tokens = {table}.output_tokens + VALUES(output_tokens)"
)
_KEYS = (
    "INSERT INTO api_keys (id, name, principal, scopes, sha256, created_at, valid, revoked_at) "
    "SELECT CONCAT('key_', LPAD(i, 6, '0')), CONCAT('key ', i), CONCAT('user-', LPAD(i, 4, '0')), "
    "'run', SHA2(CONCAT('key', i), 256), {start} + i, 1, NULL FROM made"
)


SUMS = (
    ("usage_days", "day, workflow", "workflow"),
    ("usage_principals", "day, principal", "principal"),
    ("usage_details", "day, principal, workflow", "principal, workflow"),
)


async def fill(url: str, threads: int) -> None:
    """Migrate an empty database and write the rows, the newest of them now."""
    await migrate(url)
    store = await open_store(url)
    start_us = now_us() - DAYS * DAY_US
    step_us = (DAYS * DAY_US - 2 * 3_600_000_000) // threads
    for first in range(0, threads, BATCH):
        end = min(first + BATCH, threads)
        await _write(store, *_statements(first, end, start_us, step_us))
        print(f"{end} threads", flush=True)
    numbers = _NUMBERS.format(first=0, end=KEYS, thousands=1)
    since_us = start_us + DAYS * DAY_US - 6 * DAY_US
    await _write(store, _OUTBOX.format(since=since_us, mail=_MAIL), _SIGNALS)
    insert, select = _split_insert(_KEYS.format(start=start_us))
    await _write(store, insert + numbers + select)
    await add_operator(store)
    await add_sums(store, start_us)
    await store.run_script(
        "ANALYZE TABLE threads, runs, events, outbox, usage_principals, usage_details"
    )
    await store.close()


async def add_operator(store: Store) -> None:
    """Add a key that may do what an operator may, for those who measure."""
    digest = hashlib.sha256(OPERATOR.encode()).hexdigest()
    key = ApiKey("key_operator", "operator", "operator", ("admin",), digest, now_us(), None)
    await store.add_key(key)


async def add_sums(store: Store, start_us: int) -> None:
    """Add the runs that are marked as counted to the sums, day by day."""
    for since in range(start_us, start_us + (DAYS + 1) * DAY_US, DAY_US):
        for table, keys, names in SUMS:
            values = {"table": table, "keys": keys, "names": names, "since": since}
            await _write(store, _SUMS.format(**values, until=since + DAY_US))


def _split_insert(statement: str) -> tuple[str, str]:
    """Return the INSERT and its SELECT; a WITH stands between them."""
    at = statement.index("SELECT")
    return statement[:at], statement[at:]


async def _write(store: Store, *statements: str) -> None:
    async with store.write() as tx:
        for statement in statements:
            await tx.execute(statement)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--threads", type=int, default=500_000)
    arguments = parser.parse_args()
    asyncio.run(fill(arguments.url, arguments.threads))
