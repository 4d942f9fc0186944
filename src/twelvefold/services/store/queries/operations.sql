-- What operators read: the runs of all principals.
--
-- `found_runs` is assembled by `operations.py` from one of the statements `keys_…`, each of which reads at most
-- :scan rows of one index, and from conditions on those rows. Rows of releases before 0005 have no workflow and
-- no principal: conditions on these do not find them.

-- found_runs: the rows of a page, also those of deleted runs; without the errors of deleted conversations,
-- which are text of these
SELECT r.thread_id, r.ordinal, r.status, t.principal, t.workflow, r.release_id, r.`usage`,
       CASE WHEN t.deleted_at IS NULL THEN r.error ELSE '' END AS error, r.created_at, r.finished_at,
       r.cancel_asked, r.background, r.deleted_at, r.attempts,
       t.size AS thread_size, t.parent_thread, t.parent_run,
       r.lease_until > {now_us} AS leased,
       COALESCE(r.finished_at, (SELECT e.at_us FROM events e
                                 WHERE e.thread_id = t.id AND e.position = t.head), r.created_at) AS updated_at
  FROM (SELECT k.thread_id, k.ordinal, k.created_at FROM (:keys) k :joined
         WHERE :conditions
         ORDER BY :order LIMIT :limit) found
  {straight_join} runs r ON r.thread_id = found.thread_id AND r.ordinal = found.ordinal
  {straight_join} threads t ON t.id = found.thread_id
 ORDER BY :found_order

-- join_errors: the rows with the errors, for a condition on them, without those of deleted conversations
{straight_join} runs e ON e.thread_id = k.thread_id AND e.ordinal = k.ordinal
{straight_join} threads d ON d.id = k.thread_id AND d.deleted_at IS NULL

-- has_asked: a condition: the run has entries that ask a person, and its conversation was not deleted
EXISTS (SELECT 1 FROM threads d WHERE d.id = k.thread_id AND d.deleted_at IS NULL)
AND EXISTS (SELECT 1 FROM events a
         WHERE a.thread_id = k.thread_id AND a.run = k.ordinal
           AND (a.type IN ('ApprovalAsked', 'OutcomeUnknown')
                OR (a.type = 'WaitStarted' AND a.body LIKE '%"question":"%')))

-- last_key: the last row that `found_runs` examined, and how many it examined
SELECT k.thread_id, k.ordinal, (SELECT COUNT(*) FROM (:keys) c) AS examined
  FROM (:keys) k ORDER BY :reversed LIMIT 1

-- keys_by_time: of all runs, newest first
SELECT thread_id, ordinal, created_at, status, workflow, principal FROM runs {by_created}
 WHERE created_at >= :since AND created_at <= :at
   AND NOT (created_at = :at AND (thread_id > :thread OR (thread_id = :thread AND ordinal >= :ordinal)))
 ORDER BY created_at DESC, thread_id DESC, ordinal DESC LIMIT :scan

-- keys_by_status: as `keys_by_time`, of one status
SELECT thread_id, ordinal, created_at, status, workflow, principal FROM runs {by_status}
 WHERE status = :status AND created_at >= :since AND created_at <= :at
   AND NOT (created_at = :at AND (thread_id > :thread OR (thread_id = :thread AND ordinal >= :ordinal)))
 ORDER BY created_at DESC, thread_id DESC, ordinal DESC LIMIT :scan

-- keys_by_workflow: as `keys_by_time`, of one workflow
SELECT thread_id, ordinal, created_at, status, workflow, principal FROM runs {by_workflow}
 WHERE workflow = :workflow AND created_at >= :since AND created_at <= :at
   AND NOT (created_at = :at AND (thread_id > :thread OR (thread_id = :thread AND ordinal >= :ordinal)))
 ORDER BY created_at DESC, thread_id DESC, ordinal DESC LIMIT :scan

-- keys_by_principal: as `keys_by_time`, of one principal
SELECT thread_id, ordinal, created_at, status, workflow, principal FROM runs {by_principal}
 WHERE principal = :principal AND created_at >= :since AND created_at <= :at
   AND NOT (created_at = :at AND (thread_id > :thread OR (thread_id = :thread AND ordinal >= :ordinal)))
 ORDER BY created_at DESC, thread_id DESC, ordinal DESC LIMIT :scan

-- keys_by_id: runs whose thread's id begins with :id_prefix; :id_end is the first text after all of these
SELECT thread_id, ordinal, created_at, status, workflow, principal FROM runs {by_key}
 WHERE thread_id >= :id_prefix AND thread_id < :id_end AND thread_id <= :thread
   AND NOT (thread_id = :thread AND ordinal >= :ordinal)
 ORDER BY thread_id DESC, ordinal DESC LIMIT :scan

-- keys_below: the runs below a run
SELECT r.thread_id, r.ordinal, r.created_at, r.status, r.workflow, r.principal
  FROM (WITH RECURSIVE below (id) AS (
          SELECT id FROM threads {by_parent} WHERE parent_thread = :thread AND parent_run = :ordinal
          UNION ALL
          SELECT t.id FROM below b {straight_join} threads t {by_parent} ON t.parent_thread = b.id)
        SELECT id FROM below) b
  {straight_join} runs r {by_key} ON r.thread_id = b.id
 ORDER BY r.created_at DESC, r.thread_id DESC, r.ordinal DESC LIMIT :scan

-- unsent_messages: by the time of their next attempt, the last one first; with :failed those with an error. Reads
-- at most :scan rows of the index outbox_waiting
SELECT o.id, o.thread_id, o.kind, o.body, o.attempts, o.due_at, o.sent_at, o.dead_at, o.error,
       t.deleted_at AS thread_deleted_at
  FROM (SELECT id FROM outbox
         WHERE sent_at IS NULL AND dead_at IS NULL AND due_at <= :due
           AND NOT (due_at = :due AND id >= :id)
         ORDER BY due_at DESC, id DESC LIMIT :scan) k
  {straight_join} outbox o ON o.id = k.id
  LEFT JOIN threads t ON t.id = o.thread_id
 WHERE (CASE WHEN o.error IS NULL THEN 0 ELSE 1 END) = :failed
 ORDER BY o.due_at DESC, o.id DESC LIMIT :limit

-- dead_messages_after: the last one to die first
SELECT o.id, o.thread_id, o.kind, o.body, o.attempts, o.due_at, o.sent_at, o.dead_at, o.error,
       t.deleted_at AS thread_deleted_at
  FROM outbox o LEFT JOIN threads t ON t.id = o.thread_id
 WHERE o.sent_at IS NULL AND o.dead_at <= :dead
   AND NOT (o.dead_at = :dead AND (o.due_at > :due OR (o.due_at = :due AND o.id >= :id)))
 ORDER BY o.dead_at DESC, o.due_at DESC, o.id DESC LIMIT :limit

-- sent_messages_after: the last one first
SELECT o.id, o.thread_id, o.kind, o.body, o.attempts, o.due_at, o.sent_at, o.dead_at, o.error,
       t.deleted_at AS thread_deleted_at
  FROM outbox o LEFT JOIN threads t ON t.id = o.thread_id
 WHERE o.sent_at <= :sent AND o.dead_at IS NULL
   AND NOT (o.sent_at = :sent AND (o.due_at > :due OR (o.due_at = :due AND o.id >= :id)))
 ORDER BY o.sent_at DESC, o.dead_at DESC, o.due_at DESC, o.id DESC LIMIT :limit

-- whole_message: 0 rows mean that it does not exist
SELECT o.id, o.thread_id, o.kind, o.body, o.attempts, o.due_at, o.sent_at, o.dead_at, o.error,
       t.deleted_at AS thread_deleted_at
  FROM outbox o LEFT JOIN threads t ON t.id = o.thread_id
 WHERE o.id = :id

-- key_of_run: 0 rows mean that the run does not exist; a deleted run is found
SELECT created_at FROM runs WHERE thread_id = :thread AND ordinal = :ordinal
