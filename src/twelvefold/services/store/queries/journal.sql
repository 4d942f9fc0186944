-- Runs and their steps, by name. `:name` is a parameter; {now_us} and {lock} are words that differ
-- between MySQL and SQLite (see mysql.py and sqlite.py). Statements that cannot be said alike in
-- both stand in mysql.sql and sqlite.sql.

-- insert_thread: a conversation begins, with its first entry or (head 0) without one
INSERT INTO threads (id, principal, workflow, head, forked_from, forked_at, created_at, metadata,
                     size, listed, title)
VALUES (:thread, :principal, :workflow, :head, NULL, NULL, {now_us}, :metadata,
        :size, :listed, :title)

-- advance_thread: one more entry; 0 rows mean that the thread has moved on, or was deleted; whether a
-- thread is listed, its first own entry says, and its title, the first in which a user says something
UPDATE threads SET head = :head + 1, size = :size,
       workflow = CASE WHEN workflow = '' THEN :workflow ELSE workflow END,
       listed = CASE WHEN listed IS NOT NULL AND :head = COALESCE(forked_at, 0) THEN :listed
                     ELSE listed END,
       title = CASE WHEN title = '' OR (title IS NULL AND :head = 0) THEN :title ELSE title END
 WHERE id = :thread AND head = :head AND deleted_at IS NULL

-- insert_run: a turn begins, leased or (with an empty token) queued
INSERT INTO runs (thread_id, ordinal, status, lease_token, lease_until, background, cancel_asked,
                  idempotency_key, `usage`, error, release_id, created_at, finished_at,
                  workflow, principal, began)
VALUES (:thread, :ordinal, :status, :token, {now_us} + :lease_us, :background, 0,
        :idempotency_key, '', '', :release, {now_us}, NULL,
        :workflow, :principal, :began)

-- insert_event: one entry of the journal
INSERT INTO events (thread_id, position, run, type, version, body, at_us)
VALUES (:thread, :position, :run, :type, :version, :body, :at_us)

-- forget_request: the caller's key of a day ago, which is free again
DELETE FROM idempotency_keys WHERE principal = :principal AND request_key = :request_key
   AND created_at <= {now_us} - 86400000000

-- insert_request: a duplicate means that the request was made before
INSERT INTO idempotency_keys (principal, request_key, body_hash, thread_id, ordinal, created_at)
VALUES (:principal, :request_key, :body_hash, :thread, :ordinal, {now_us})

-- request: 0 rows mean that no request with this key was made within a day
SELECT body_hash, thread_id, ordinal FROM idempotency_keys
 WHERE principal = :principal AND request_key = :request_key
   AND created_at > {now_us} - 86400000000

-- run_state: why a fence failed; 0 rows mean that there is no such run
SELECT r.status, r.lease_token, r.cancel_asked, r.idempotency_key, t.head
  FROM runs r JOIN threads t ON t.id = r.thread_id
 WHERE r.thread_id = :thread AND r.ordinal = :ordinal

-- lock_run: who held it last, what for, and how often it was taken up since its thread's last entry;
-- 0 rows mean that there is no such run, or that somebody is in the middle of a step of it
SELECT lease_token, cancel_asked, attempts, attempts_head, `usage`,
       (SELECT head FROM threads WHERE id = :thread) AS head,
       (SELECT size FROM threads WHERE id = :thread) AS thread_size FROM runs
 WHERE thread_id = :thread AND ordinal = :ordinal {skip_locked}

-- claim: 0 rows mean that somebody holds it, or that it is over; who holds one that is to be
-- cancelled may write nothing but its end, and that anybody can; with its own token in place a claim
-- has been through already
UPDATE runs SET status = 'running', lease_token = :token, lease_until = {now_us} + :lease_us,
       attempts = :attempts, attempts_head = :head
 WHERE thread_id = :thread AND ordinal = :ordinal AND finished_at IS NULL
   AND (lease_until <= {now_us} OR cancel_asked = 1 OR lease_token = :token)

-- renew: 0 rows mean that another process holds it
UPDATE runs SET lease_until = {now_us} + :lease_us
 WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token

-- keep_lease: 0 rows mean that another process holds it, or that it is to be cancelled
UPDATE runs SET lease_until = {now_us} + :lease_us
 WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token AND cancel_asked = 0

-- release: 0 rows mean that another process holds it; :behind puts it behind those that wait already;
-- the attempt is not counted unless :counts is 1; :usage '' leaves what the run has cost as it was;
-- one that is to be cancelled does not wait for a person, so that any worker ends it
UPDATE runs SET status = CASE WHEN cancel_asked = 1 THEN 'queued' ELSE :status END,
       lease_token = :left,
       attempts = CASE WHEN attempts > 0 AND :counts = 0 THEN attempts - 1 ELSE attempts END,
       `usage` = CASE WHEN :usage = '' THEN `usage` ELSE :usage END, error = :error,
       lease_until = CASE WHEN :behind THEN {now_us} ELSE 0 END
 WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token

-- settle_run: the run rests or is over, and its lease is given back; one that is to be cancelled does
-- not wait for a person
UPDATE runs SET status = CASE WHEN cancel_asked = 1 AND :status = 'waiting' THEN 'queued' ELSE :status END,
       error = :error, lease_until = 0, lease_token = '',
       finished_at = CASE WHEN :over = 1 THEN {now_us} ELSE NULL END
 WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token

-- delete_told_deltas: the pieces of a reply whose text is in its entry now
DELETE FROM deltas WHERE thread_id = :thread AND position = :position AND number >= :number

-- close_deltas: takes the next number, so that nobody shows another piece there; a duplicate means
-- that somebody has just done so
INSERT INTO deltas (thread_id, position, number, kind, body, at_us)
SELECT :thread, :position, COALESCE(MAX(number), 0) + 1, 'restarted', '', :at_us
  FROM deltas WHERE thread_id = :thread AND position = :position

-- ask_cancel: 0 rows mean that it is over; one that waits for a person waits no more, so that any
-- worker ends it
UPDATE runs SET cancel_asked = 1, status = CASE WHEN status = 'waiting' THEN 'queued' ELSE status END
 WHERE thread_id = :thread AND ordinal = :ordinal AND finished_at IS NULL

-- run: one run with its thread, and where it and the one behind it begin, which an older release does
-- not write down; 0 rows mean that there is none, or that it was deleted
SELECT r.thread_id, r.ordinal, r.status, t.principal, t.workflow, r.release_id, r.`usage`,
       r.error, r.created_at, r.finished_at, r.cancel_asked, r.background,
       t.size AS thread_size,
       r.lease_until > {now_us} AS leased,
       COALESCE(r.began, (SELECT e.position FROM events e
                           WHERE e.thread_id = r.thread_id AND e.run = r.ordinal
                             AND e.type = 'RunStarted'
                           ORDER BY e.position LIMIT 1)) AS began,
       (SELECT COALESCE(n.began, (SELECT e.position FROM events e
                                   WHERE e.thread_id = n.thread_id AND e.run = n.ordinal
                                     AND e.type = 'RunStarted'
                                   ORDER BY e.position LIMIT 1))
          FROM runs n WHERE n.thread_id = r.thread_id AND n.ordinal = r.ordinal + 1) AS next_began
  FROM runs r JOIN threads t ON t.id = r.thread_id
 WHERE r.thread_id = :thread AND r.ordinal = :ordinal AND r.deleted_at IS NULL

-- runs: the newest first
SELECT r.thread_id, r.ordinal, r.status, t.principal, t.workflow, r.release_id, r.`usage`,
       r.error, r.created_at, r.finished_at, r.cancel_asked, r.background,
       t.size AS thread_size,
       r.lease_until > {now_us} AS leased
  FROM runs r JOIN threads t ON t.id = r.thread_id
 WHERE (:status = '' OR r.status = :status) AND r.deleted_at IS NULL
 ORDER BY r.created_at DESC, r.thread_id DESC, r.ordinal DESC LIMIT :limit
