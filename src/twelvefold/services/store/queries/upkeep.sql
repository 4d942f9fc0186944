-- What is removed in the end.

-- aged_threads: the next that may be old, newest first, since forks are newer than their origin; an
-- id begins with the time that it was made at, so that younger ones are not read. All ids down to the
-- last one are returned
SELECT id, created_at < :before_us AS is_old FROM threads
 WHERE id < :below ORDER BY id DESC LIMIT :limit

-- deleted_threads: the next that were deleted, in the order of the index threads_deleted
SELECT id, deleted_at FROM threads {by_deleted}
 WHERE deleted_at >= :deleted_at AND (deleted_at > :deleted_at OR id > :after)
 ORDER BY deleted_at, id LIMIT :limit

-- thread_states: a row `thread` for each that was deleted or is old enough, and a row `keep` for each
-- reason to keep one. Not deleted: a run or the last entry was not over before then; runs that wait
-- for a person do not count. All: another thread was forked from it, a process works on it, or its
-- mail has not left. Each part reads a range of one index; a count per thread takes four times as long
SELECT 'thread' AS part, id, forked_from FROM threads {by_key}
 WHERE id IN (:threads) AND (deleted_at IS NOT NULL OR created_at < :before_us)
UNION ALL
SELECT 'keep' AS part, r.thread_id AS id, NULL AS forked_from
  FROM runs r {by_key} {straight_join} threads d {by_key} ON d.id = r.thread_id AND d.deleted_at IS NULL
 WHERE r.thread_id IN (:threads)
   AND (r.finished_at >= :before_us OR (r.finished_at IS NULL AND r.status <> 'waiting'))
UNION ALL
SELECT 'keep' AS part, t.id, NULL AS forked_from
  FROM threads t {by_key} {straight_join} events e {by_key} ON e.thread_id = t.id AND e.position = t.head
 WHERE t.id IN (:threads) AND t.deleted_at IS NULL AND e.at_us >= :before_us
UNION ALL
SELECT 'keep' AS part, thread_id AS id, NULL AS forked_from FROM runs {by_key}
 WHERE thread_id IN (:threads) AND lease_until > {now_us}
UNION ALL
SELECT 'keep' AS part, forked_from AS id, NULL AS forked_from FROM threads {by_origin}
 WHERE forked_from IN (:threads)
UNION ALL
SELECT 'keep' AS part, thread_id AS id, NULL AS forked_from FROM outbox {by_thread}
 WHERE thread_id IN (:threads) AND sent_at IS NULL AND (dead_at IS NULL OR dead_at >= :before_us)

-- lock_threads: against whoever goes on with one of them, who takes its row first; those that are
-- missing are just being gone on with
SELECT id FROM threads {by_key} WHERE id IN (:threads) {skip_locked}

-- lock_openings: against whoever forks one of them
SELECT e.position FROM threads t {by_key} {straight_join} events e {by_key}
    ON e.thread_id = t.id AND e.position = COALESCE(t.forked_at, 0) + 1
 WHERE t.id IN (:threads) {lock}

-- lock_runs: against whoever claims one of theirs
SELECT ordinal FROM runs {by_key} WHERE thread_id IN (:threads) {lock}

-- cancelled_waiting: runs that are to be cancelled and wait for a person nevertheless, as earlier
-- releases left them; reads the part of the index runs_queue that waits
SELECT thread_id, ordinal FROM runs WHERE status = 'waiting' AND cancel_asked = 1 LIMIT :limit

-- requeue_cancelled: any worker ends it then; 0 rows mean that it does not wait any more
UPDATE runs SET status = 'queued'
 WHERE thread_id = :thread AND ordinal = :ordinal AND status = 'waiting' AND cancel_asked = 1

-- delete_old_requests: keys of callers that are free again
DELETE FROM idempotency_keys WHERE created_at <= {now_us} - 86400000000 {at_most}

-- delete_old_letters: what has left or is dead, and belongs to no thread that it could go with
DELETE FROM outbox
 WHERE thread_id = '' AND (sent_at < :before_us OR dead_at < :before_us) {at_most}

-- delete_requests: with the thread that came of them
DELETE FROM idempotency_keys WHERE thread_id IN (:threads)

-- delete_deltas: with their thread
DELETE FROM deltas WHERE thread_id IN (:threads)

-- delete_events: with their thread
DELETE FROM events WHERE thread_id IN (:threads)

-- delete_runs: with their thread
DELETE FROM runs WHERE thread_id IN (:threads)

-- delete_outbox: what was sent, with its thread
DELETE FROM outbox WHERE thread_id IN (:threads)

-- delete_threads: last of all
DELETE FROM threads WHERE id IN (:threads)
