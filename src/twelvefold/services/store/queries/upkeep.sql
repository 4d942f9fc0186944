-- What is removed in the end.

-- aged_threads: the next that may be old, newest first, since forks are newer than their origin; an
-- id begins with the time that it was made at, so that younger ones are not read
SELECT id FROM threads WHERE id < :below AND created_at < :before_us ORDER BY id DESC LIMIT :limit

-- deleted_threads: the next that were deleted, in the order of the index threads_deleted
SELECT id, deleted_at FROM threads {by_deleted}
 WHERE deleted_at >= :deleted_at AND (deleted_at > :deleted_at OR id > :after)
 ORDER BY deleted_at, id LIMIT :limit

-- old_threads: those of them whose last entry and last run were over before then, or that have waited
-- for a person since, and those that were deleted; none that somebody was forked from, that is being
-- worked on, or whose mail has not left. Counts, and indexes by name: a server makes a join of EXISTS,
-- and one with wrong statistics reads whole tables
SELECT t.id, t.forked_from FROM threads t {by_key}
 WHERE t.id IN (:threads)
   AND (t.deleted_at IS NOT NULL OR (t.created_at < :before_us
   AND 0 = (SELECT COUNT(*) FROM runs r {by_key} WHERE r.thread_id = t.id
               AND (r.finished_at >= :before_us
                    OR (r.finished_at IS NULL AND r.status <> 'waiting')))
   AND 0 = (SELECT COUNT(*) FROM events e {by_key} WHERE e.thread_id = t.id AND e.position = t.head
               AND e.at_us >= :before_us)))
   AND 0 = (SELECT COUNT(*) FROM threads f {by_origin} WHERE f.forked_from = t.id)
   AND 0 = (SELECT COUNT(*) FROM runs h {by_key}
             WHERE h.thread_id = t.id AND h.lease_until > {now_us})
   AND 0 = (SELECT COUNT(*) FROM outbox o {by_thread} WHERE o.thread_id = t.id AND o.sent_at IS NULL
               AND (o.dead_at IS NULL OR o.dead_at >= :before_us))

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
