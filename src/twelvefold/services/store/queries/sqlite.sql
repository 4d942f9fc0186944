-- Statements whose form in SQLite differs.

-- reserve_signal: makes the row of an event, unless it exists; the transaction locks the whole database
INSERT INTO signals (id, workflow, principal, event_key, payload, sender, created_at, sent_at)
VALUES (:signal, :workflow, :principal, :event_key, NULL, NULL, {now_us}, NULL)
    ON CONFLICT (id) DO NOTHING

-- add_signal_wait: a run waits for an event; a repetition changes nothing
INSERT INTO signal_waits (signal_id, thread_id, ordinal) VALUES (:signal, :thread, :ordinal)
    ON CONFLICT (signal_id, thread_id, ordinal) DO NOTHING

-- record_heartbeat: a process runs; one statement, so that it is complete or missing
INSERT INTO processes (id, kind, release_id, host, pid, runs, started_at, heartbeat_at)
VALUES (:id, :kind, :release, :host, :pid, :runs, {now_us}, {now_us})
    ON CONFLICT (id) DO UPDATE SET heartbeat_at = {now_us}, runs = :runs

-- version_table: 0 rows mean that no migration has run
SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'twelvefold_version'
