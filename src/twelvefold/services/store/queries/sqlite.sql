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

-- add_usage_of_day: adds the sum of some runs
INSERT INTO usage_days (day, workflow, runs, failed, input_tokens, output_tokens, cached_tokens, micro_usd)
VALUES (:day, :workflow, :runs, :failed, :input_tokens, :output_tokens, :cached_tokens, :micro_usd)
    ON CONFLICT (day, workflow) DO UPDATE SET :added

-- add_usage_of_principal: as `add_usage_of_day`
INSERT INTO usage_principals (day, principal, runs, failed, input_tokens, output_tokens, cached_tokens, micro_usd)
VALUES (:day, :principal, :runs, :failed, :input_tokens, :output_tokens, :cached_tokens, :micro_usd)
    ON CONFLICT (day, principal) DO UPDATE SET :added

-- add_usage_detail: as `add_usage_of_day`
INSERT INTO usage_details (workflow, day, principal, runs, failed, input_tokens, output_tokens, cached_tokens, micro_usd)
VALUES (:workflow, :day, :principal, :runs, :failed, :input_tokens, :output_tokens, :cached_tokens, :micro_usd)
    ON CONFLICT (workflow, day, principal) DO UPDATE SET :added

-- version_table: 0 rows mean that no migration has run
SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'twelvefold_version'

-- add_trace_export: the spans of a run up to a position; a repetition changes nothing. The process that
-- adds it has a minute to export them
INSERT INTO trace_exports (thread_id, ordinal, position, created_at, due_at)
VALUES (:thread, :ordinal, :position, {now_us}, {now_us} + 60000000)
    ON CONFLICT DO NOTHING
