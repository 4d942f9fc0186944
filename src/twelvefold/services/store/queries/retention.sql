-- Retention: which threads are removed, and the statements that remove them.

-- aged_threads: the next threads that may be old, newest first, because most forks sort after their
-- origin. An id begins with the time of its family, so newer families are not read. Returns all ids down
-- to the last one. The `size` of a fork includes the entries of its origin
SELECT id, head, head - COALESCE(forked_at, 0) AS entries, COALESCE(size, 0) AS size, forked_from,
       created_at < :before_us AS is_old
  FROM threads {by_key}
 WHERE id < :below ORDER BY id DESC LIMIT :limit

-- deleted_threads: the next deleted threads, in the order of the index threads_deleted
SELECT id, head, head - COALESCE(forked_at, 0) AS entries, COALESCE(size, 0) AS size, forked_from,
       deleted_at
  FROM threads {by_deleted}
 WHERE deleted_at >= :deleted_at AND (deleted_at > :deleted_at OR id > :after)
 ORDER BY deleted_at, id LIMIT :limit

-- old_threads: those of the threads that were deleted or are old enough
SELECT id, head, head - COALESCE(forked_at, 0) AS entries, COALESCE(size, 0) AS size, forked_from
  FROM threads {by_key}
 WHERE id IN (:threads) AND (deleted_at IS NOT NULL OR created_at < :before_us) ORDER BY id

-- kept_threads: a row `keep` for each reason to keep one of the threads, and a row for each statement
-- that has rows of them to delete. A thread that was not deleted is kept if a run or the last entry is
-- newer than :before_us, or a run is not over. Any thread is kept if another one was
-- forked from it, the usage of a run is not counted, a run of a thread that is left has started its own run, a process holds a run of it, or mail of it has not been sent. Each part reads a range of
-- one index; a count per thread takes four times as long. A part that reads a column outside its index
-- cannot become a scan of that whole index
SELECT 'keep' AS part, r.thread_id AS id
  FROM runs r {by_key} {straight_join} threads d {by_key} ON d.id = r.thread_id
 WHERE r.thread_id IN (:threads)
   AND (r.lease_until > {now_us} OR r.finished_at >= :before_us OR r.finished_at IS NULL OR r.counted IS NULL)
   AND (r.lease_until > {now_us} OR d.deleted_at IS NULL
        OR (r.finished_at IS NOT NULL AND r.counted IS NULL))
UNION ALL
SELECT 'keep' AS part, t.id
  FROM threads t {by_key} {straight_join} events e {by_key} ON e.thread_id = t.id AND e.position = t.head
 WHERE t.id IN (:threads) AND t.deleted_at IS NULL AND e.at_us >= :before_us
UNION ALL
SELECT 'keep' AS part, forked_from AS id FROM threads {by_origin}
 WHERE forked_from IN (:threads)
UNION ALL
SELECT 'keep' AS part, c.id
  FROM threads c {by_key} {straight_join} threads p {by_key} ON p.id = c.parent_thread
 WHERE c.id IN (:threads)
UNION ALL
SELECT CASE WHEN sent_at IS NULL AND (dead_at IS NULL OR dead_at >= :before_us) THEN 'keep'
            ELSE 'delete_outbox' END AS part, thread_id AS id
  FROM outbox {by_thread} WHERE thread_id IN (:threads)
UNION ALL
SELECT 'delete_deltas' AS part, MAX(kind) AS id FROM deltas {by_key} WHERE thread_id IN (:threads)
UNION ALL
SELECT 'delete_requests' AS part, MAX(body_hash) AS id FROM idempotency_keys
 WHERE thread_id IN (:threads)
UNION ALL
SELECT 'delete_signal_waits' AS part, MAX(signal_id) AS id FROM signal_waits
 WHERE thread_id IN (:threads)

-- old_children: as `old_threads`, the threads whose runs were started by runs of these threads
SELECT id, head, head - COALESCE(forked_at, 0) AS entries, COALESCE(size, 0) AS size, forked_from
  FROM threads {by_parent}
 WHERE parent_thread IN (:threads) AND (deleted_at IS NOT NULL OR created_at < :before_us) ORDER BY id

-- lock_threads: a start or a step locks its thread's row first, and changes its head. A row that another
-- transaction has locked is an error at once
SELECT id, head FROM threads {by_key} WHERE id IN (:threads) {nowait}

-- cancelled_waiting: runs with a cancel request that wait for a person, as earlier releases left them;
-- reads the waiting runs of the index runs_queue
SELECT thread_id, ordinal FROM runs {by_queue} WHERE status = 'waiting' AND cancel_asked = 1 LIMIT :limit

-- requeue_cancelled: lets any worker end the run; 0 rows mean that it no longer waits
UPDATE runs SET status = 'queued'
 WHERE thread_id = :thread AND ordinal = :ordinal AND status = 'waiting' AND cancel_asked = 1

-- delete_old_requests: idempotency keys that callers may use again
DELETE FROM idempotency_keys WHERE created_at <= {now_us} - 86400000000 {at_most}

-- delete_old_messages: sent or dead messages without a thread
DELETE FROM outbox
 WHERE thread_id = '' AND (sent_at < :before_us OR dead_at < :before_us) {at_most}

-- delete_old_trace_exports: no process with traces has exported these spans
DELETE FROM trace_exports WHERE created_at < :before_us {at_most}

-- delete_old_signals: events of 30 days ago that no run in progress waits for
DELETE FROM signals
 WHERE created_at <= {now_us} - 2592000000000
   AND COALESCE(sent_at, created_at) <= {now_us} - 2592000000000
   AND NOT EXISTS (SELECT 1 FROM signal_waits w
                     JOIN runs r ON r.thread_id = w.thread_id AND r.ordinal = w.ordinal
                    WHERE w.signal_id = signals.id AND r.finished_at IS NULL) {at_most}

-- delete_runs: waits for a claim in progress. Keeps a run that is leased, and of a thread that was not
-- deleted a run that is in progress or ended after :before_us
DELETE FROM runs
 WHERE thread_id IN (:threads) AND lease_until <= {now_us}
   AND (finished_at < :before_us
        OR EXISTS (SELECT 1 FROM threads d {by_key}
                    WHERE d.id = runs.thread_id AND d.deleted_at IS NOT NULL))

-- delete_events: waits for a fork in progress, which locks its origin's first entry
DELETE FROM events WHERE thread_id IN (:threads)

-- delete_deltas: with their thread
DELETE FROM deltas WHERE thread_id IN (:threads)

-- delete_requests: with the thread that they started
DELETE FROM idempotency_keys WHERE thread_id IN (:threads)

-- delete_signal_waits: of runs that ended
DELETE FROM signal_waits WHERE thread_id IN (:threads)

-- delete_outbox: with its thread; keeps messages that are due
DELETE FROM outbox
 WHERE thread_id IN (:threads) AND (sent_at IS NOT NULL OR dead_at < :before_us)

-- delete_threads: last, so that their rows stay locked while the others are deleted
DELETE FROM threads WHERE id IN (:threads)

-- still_in_use: counts what other transactions committed before the deletions locked it: claimed runs,
-- mail that is due again, and forks
SELECT (SELECT COUNT(*) FROM runs {by_key} WHERE thread_id IN (:threads))
     + (SELECT COUNT(kind) FROM outbox {by_thread} WHERE thread_id IN (:threads))
     + (SELECT COUNT(*) FROM threads {by_origin} WHERE forked_from IN (:threads)) AS still_in_use
