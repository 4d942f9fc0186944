-- What is removed in the end.

-- old_threads: whose last entry and last run were over before then, and those that were deleted;
-- none that somebody was forked from, that is being worked on, or whose mail has not left
SELECT t.id FROM threads t
 WHERE (t.deleted_at IS NOT NULL OR (t.created_at < :before_us
   AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.thread_id = t.id
                      AND (r.finished_at IS NULL OR r.finished_at >= :before_us))
   AND NOT EXISTS (SELECT 1 FROM events e WHERE e.thread_id = t.id AND e.position = t.head
                      AND e.at_us >= :before_us)))
   AND NOT EXISTS (SELECT 1 FROM threads f WHERE f.forked_from = t.id)
   AND NOT EXISTS (SELECT 1 FROM runs h WHERE h.thread_id = t.id AND h.lease_until > {now_us})
   AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.thread_id = t.id AND o.sent_at IS NULL
                      AND (o.dead_at IS NULL OR o.dead_at >= :before_us))
 LIMIT 100

-- old_thread: 0 rows mean that it is none of `old_threads` any more
SELECT t.id FROM threads t
 WHERE t.id = :thread AND (t.deleted_at IS NOT NULL OR (t.created_at < :before_us
   AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.thread_id = t.id
                      AND (r.finished_at IS NULL OR r.finished_at >= :before_us))
   AND NOT EXISTS (SELECT 1 FROM events e WHERE e.thread_id = t.id AND e.position = t.head
                      AND e.at_us >= :before_us)))
   AND NOT EXISTS (SELECT 1 FROM threads f WHERE f.forked_from = t.id)
   AND NOT EXISTS (SELECT 1 FROM runs h WHERE h.thread_id = t.id AND h.lease_until > {now_us})
   AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.thread_id = t.id AND o.sent_at IS NULL
                      AND (o.dead_at IS NULL OR o.dead_at >= :before_us))

-- delete_old_requests: keys of callers that are free again
DELETE FROM idempotency_keys WHERE created_at <= {now_us} - 86400000000

-- delete_requests: with the thread that came of them
DELETE FROM idempotency_keys WHERE thread_id = :thread

-- delete_deltas: with their thread
DELETE FROM deltas WHERE thread_id = :thread

-- delete_events: with their thread
DELETE FROM events WHERE thread_id = :thread

-- delete_runs: with their thread
DELETE FROM runs WHERE thread_id = :thread

-- delete_outbox: what was sent, with its thread
DELETE FROM outbox WHERE thread_id = :thread

-- delete_thread: last of all
DELETE FROM threads WHERE id = :thread
