-- The queue: runs that wait for a process to drive them.
--
-- `waiting_runs` is assembled from `queued_part`, `expired_part` and `due_part`, one of each per workflow,
-- because an index is in the order of a column only where the columns before it are constant. Each part
-- reads at most :limit or :max_expired rows, of the index alone. {by_queue}, {by_lease} and {by_due} name
-- the index, because the statistics of a queue are always out of date.

-- waiting_runs: runs that may be claimed, by principal, each principal's longest-waiting first; also a
-- row `mail` if a message is due, and a row `unfilled` if `unfilled_runs` finds a row
SELECT w.part, w.thread_id, w.ordinal, w.principal, w.lease_until,
       CASE WHEN r.attempts_head = t.head THEN r.attempts ELSE 0 END AS attempts, r.key_id, r.priority
  FROM (SELECT * FROM (:queued_parts
                        ORDER BY principal, lease_until, thread_id, ordinal LIMIT :limit) queued
        UNION ALL
        SELECT * FROM (:expired_parts
                        ORDER BY lease_until, thread_id, ordinal LIMIT :max_expired) expired
        UNION ALL
        SELECT * FROM (:due_parts
                        ORDER BY lease_until, thread_id, ordinal LIMIT :max_expired) due) w
  {straight_join} runs r ON r.thread_id = w.thread_id AND r.ordinal = w.ordinal
  {straight_join} threads t ON t.id = w.thread_id
UNION ALL
SELECT * FROM (
  SELECT 'mail' AS part, '' AS thread_id, 0 AS ordinal, '' AS principal, 0 AS lease_until, 0 AS attempts,
         NULL AS key_id, NULL AS priority
    FROM outbox
   WHERE sent_at IS NULL AND dead_at IS NULL AND due_at <= {now_us} AND kind = 'mail' LIMIT 1) mail
UNION ALL
SELECT * FROM (
  SELECT 'unfilled' AS part, '' AS thread_id, 0 AS ordinal, '' AS principal, 0 AS lease_until, 0 AS attempts,
         NULL AS key_id, NULL AS priority
    FROM runs {by_lease}
   WHERE status IN ('queued', 'running') AND workflow IS NULL AND lease_until <= {now_us} LIMIT 1) unfilled
 ORDER BY principal, lease_until, thread_id, ordinal

-- queued_part: queued runs of one workflow, of the principals after :after, without those of some keys. In the
-- order of the index, which has the key, so that no row is read and nothing is sorted
SELECT * FROM (
  SELECT 'queued' AS part, thread_id, ordinal, principal, lease_until FROM runs {by_queue}
   WHERE status = 'queued' AND workflow = :workflow AND principal > :after AND lease_until <= {now_us}
     AND (key_id IS NULL OR key_id NOT IN (:without_keys))
   ORDER BY principal, lease_until, key_id, thread_id, ordinal LIMIT :limit) queued_part

-- expired_part: runs of one workflow whose lease expired, because their process died
SELECT * FROM (
  SELECT 'expired' AS part, thread_id, ordinal, principal, lease_until FROM runs {by_lease}
   WHERE status = 'running' AND workflow = :workflow AND lease_until <= {now_us}
   ORDER BY lease_until, thread_id, ordinal LIMIT :max_expired) expired_part

-- due_part: waiting runs of one workflow whose time has come, first those that have waited longest
SELECT * FROM (
  SELECT 'due' AS part, thread_id, ordinal, principal, wake_at AS lease_until FROM runs {by_due}
   WHERE status = 'waiting' AND workflow = :workflow AND wake_at <= {now_us}
   ORDER BY wake_at, thread_id, ordinal LIMIT :max_expired) due_part

-- mail_is_due: 0 rows mean that no message is due
SELECT 'mail' AS part FROM outbox
 WHERE sent_at IS NULL AND dead_at IS NULL AND due_at <= {now_us} AND kind = 'mail' LIMIT 1

-- unfilled_runs: claimable runs that an older release wrote, without workflow and principal, with those of
-- their threads
SELECT r.thread_id, r.ordinal, t.workflow, t.principal
  FROM (SELECT thread_id, ordinal FROM runs {by_lease}
         WHERE status IN ('queued', 'running') AND workflow IS NULL AND lease_until <= {now_us}
         LIMIT :limit) r
  {straight_join} threads t ON t.id = r.thread_id

-- lock_unfilled: 0 rows mean that another process has filled it. A row that a step has locked is an error at
-- once
SELECT ordinal FROM runs
 WHERE thread_id = :thread AND ordinal = :ordinal AND workflow IS NULL {nowait}

-- fill_run: 0 rows mean that another process has filled it
UPDATE runs SET workflow = :workflow, principal = :principal
 WHERE thread_id = :thread AND ordinal = :ordinal AND workflow IS NULL

-- queued_runs: how many runs are queued, counted up to :limit; reads at most as many rows of an older
-- release, which have no workflow
SELECT (SELECT COUNT(*) FROM (
         SELECT 1 AS one FROM runs {by_queue}
          WHERE status = 'queued' AND workflow IN (:workflows) LIMIT :limit) filled)
     + (SELECT COUNT(*) FROM (
         SELECT thread_id FROM runs {by_queue}
          WHERE status = 'queued' AND workflow IS NULL LIMIT :limit) unfilled
         {straight_join} threads t ON t.id = unfilled.thread_id
         WHERE t.workflow IN (:workflows)) AS queued

-- queued_runs_of: as `queued_runs`, for one principal
SELECT (SELECT COUNT(*) FROM (
         SELECT 1 AS one FROM runs {by_queue}
          WHERE status = 'queued' AND workflow IN (:workflows) AND principal = :principal
          LIMIT :limit) filled)
     + (SELECT COUNT(*) FROM (
         SELECT thread_id FROM runs {by_queue}
          WHERE status = 'queued' AND workflow IS NULL LIMIT :limit) unfilled
         {straight_join} threads t ON t.id = unfilled.thread_id
         WHERE t.workflow IN (:workflows) AND t.principal = :principal) AS queued

-- unserved_runs: how many runs of other workflows are queued, by workflow
SELECT workflow, COUNT(*) AS waiting FROM (
  SELECT workflow FROM runs {by_queue} WHERE status = 'queued' AND workflow NOT IN (:workflows)
  UNION ALL
  SELECT t.workflow FROM runs r {by_queue} {straight_join} threads t ON t.id = r.thread_id
   WHERE r.status = 'queued' AND r.workflow IS NULL AND t.workflow NOT IN (:workflows)) unserved
 GROUP BY workflow ORDER BY workflow

-- run_count: how many runs of one workflow have a status, counted up to :limit, and for how long the oldest
-- queued one has waited. Runs of lease_until 0 were given back to be continued first
SELECT :workflow AS workflow, :status AS status, COUNT(*) AS runs,
       {now_us} - MIN(CASE WHEN lease_until > 0 AND :status = 'queued' THEN lease_until END) AS age_us
  FROM (SELECT lease_until FROM runs {by_lease}
         WHERE status = :status AND workflow = :workflow ORDER BY lease_until LIMIT :limit) counted
