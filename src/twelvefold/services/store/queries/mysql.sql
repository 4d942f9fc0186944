-- Statements whose form in MySQL and MariaDB differs.

-- reserve_signal: makes the row of an event, or locks the one that exists. Locks end at the node in a cluster
-- with several writers. There :write_fence is 1, and the commit checks the changed row
INSERT INTO signals (id, workflow, principal, event_key, payload, sender, created_at, sent_at)
VALUES (:signal, :workflow, :principal, :event_key, NULL, NULL, {now_us}, NULL)
    ON DUPLICATE KEY UPDATE created_at = created_at + :write_fence

-- add_signal_wait: a run waits for an event; a repetition changes nothing
INSERT INTO signal_waits (signal_id, thread_id, ordinal) VALUES (:signal, :thread, :ordinal)
    ON DUPLICATE KEY UPDATE ordinal = ordinal

-- record_heartbeat: a process runs; one statement, so that it is complete or missing
INSERT INTO processes (id, kind, release_id, host, pid, runs, started_at, heartbeat_at)
VALUES (:id, :kind, :release, :host, :pid, :runs, {now_us}, {now_us})
    ON DUPLICATE KEY UPDATE heartbeat_at = {now_us}, runs = :runs

-- add_usage_of_day: adds the sum of some runs
INSERT INTO usage_days (day, workflow, runs, failed, input_tokens, output_tokens, cached_tokens, micro_usd)
VALUES (:day, :workflow, :runs, :failed, :input_tokens, :output_tokens, :cached_tokens, :micro_usd)
    ON DUPLICATE KEY UPDATE :added

-- add_usage_of_principal: as `add_usage_of_day`
INSERT INTO usage_principals (day, principal, runs, failed, input_tokens, output_tokens, cached_tokens, micro_usd)
VALUES (:day, :principal, :runs, :failed, :input_tokens, :output_tokens, :cached_tokens, :micro_usd)
    ON DUPLICATE KEY UPDATE :added

-- add_usage_detail: as `add_usage_of_day`
INSERT INTO usage_details (workflow, day, principal, runs, failed, input_tokens, output_tokens, cached_tokens, micro_usd)
VALUES (:workflow, :day, :principal, :runs, :failed, :input_tokens, :output_tokens, :cached_tokens, :micro_usd)
    ON DUPLICATE KEY UPDATE :added

-- version_table: 0 rows mean that no migration has run
SELECT table_name AS name FROM information_schema.tables
 WHERE table_schema = DATABASE() AND table_name = 'twelvefold_version'

-- add_trace_export: the spans of a run up to a position; a repetition changes nothing. The process that
-- adds it has a minute to export them
INSERT INTO trace_exports (thread_id, ordinal, position, created_at, due_at)
VALUES (:thread, :ordinal, :position, {now_us}, {now_us} + 60000000)
    ON DUPLICATE KEY UPDATE ordinal = ordinal
