-- Runs with spans that may not have been exported: a row is added in the transaction that ends a run or
-- lets it wait, and removed once a collector has the spans. `add_trace_export` is in mysql.sql and
-- sqlite.sql.

-- due_trace_exports: the oldest first
SELECT thread_id, ordinal, position, created_at, due_at, {now_us} AS now_us FROM trace_exports
 WHERE due_at <= {now_us} ORDER BY due_at LIMIT :limit

-- claim_trace_export: 0 rows mean that another process has claimed it, or has exported the spans
UPDATE trace_exports SET due_at = {now_us} + :lease_us
 WHERE thread_id = :thread AND ordinal = :ordinal AND position = :position AND due_at = :due_at

-- remove_trace_export: its spans were exported
DELETE FROM trace_exports
 WHERE thread_id = :thread AND ordinal = :ordinal AND position = :position
