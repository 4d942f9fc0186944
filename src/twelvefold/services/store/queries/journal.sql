-- Every statement of the journal, by name. `:name` is a parameter; {now_us} and {lock} are words
-- that differ between MySQL and SQLite (see mysql.py and sqlite.py). Statements that
-- cannot be said alike in both stand in mysql.sql and sqlite.sql.

-- insert_thread: a conversation begins
INSERT INTO threads (id, principal, workflow, head, forked_from, forked_at, created_at)
VALUES (:thread, :principal, :workflow, 1, NULL, NULL, {now_us})

-- insert_fork: a conversation that goes on from a position of another
INSERT INTO threads (id, principal, workflow, head, forked_from, forked_at, created_at)
SELECT :fork, principal, workflow, :position, id, :position, {now_us}
  FROM threads WHERE id = :thread

-- advance_thread: one more entry; 0 rows mean that the thread has moved on
UPDATE threads SET head = :head + 1 WHERE id = :thread AND head = :head

-- insert_run: a turn begins, leased or (with an empty token) queued
INSERT INTO runs (thread_id, ordinal, status, lease_token, lease_until, background, cancel_asked,
                  idempotency_key, `usage`, error, release_id, created_at, finished_at)
VALUES (:thread, :ordinal, :status, :token, {now_us} + :lease_us, :background, 0,
        :idempotency_key, '', '', :release, {now_us}, NULL)

-- insert_event: one entry of the journal
INSERT INTO events (thread_id, position, run, type, version, body, at_us)
VALUES (:thread, :position, :run, :type, :version, :body, :at_us)

-- thread: 0 rows mean that there is no such thread
SELECT id, principal, workflow, head, forked_from, forked_at FROM threads WHERE id = :thread

-- events: the journal of one thread up to a position, in order
SELECT position, run, type, version, body, at_us FROM events
 WHERE thread_id = :thread AND position <= :position ORDER BY position

-- run_state: why a fence failed; 0 rows mean that there is no such run
SELECT r.status, r.lease_token, r.cancel_asked, r.idempotency_key, t.head
  FROM runs r JOIN threads t ON t.id = r.thread_id
 WHERE r.thread_id = :thread AND r.ordinal = :ordinal

-- lock_run: who held it last; 0 rows mean that there is no such run
SELECT lease_token FROM runs WHERE thread_id = :thread AND ordinal = :ordinal {lock}

-- claim: 0 rows mean that somebody holds it, or that it is over
UPDATE runs SET status = 'running', lease_token = :token, lease_until = {now_us} + :lease_us
 WHERE thread_id = :thread AND ordinal = :ordinal AND finished_at IS NULL AND lease_until <= {now_us}

-- renew: 0 rows mean that another process holds it
UPDATE runs SET lease_until = {now_us} + :lease_us
 WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token

-- release: 0 rows mean that another process holds it
UPDATE runs SET status = :status, lease_until = 0, lease_token = :left
 WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token

-- settle_run: the run rests or is over, and its lease is given back
UPDATE runs SET status = :status, `usage` = :usage, error = :error, lease_until = 0, lease_token = '',
       finished_at = CASE WHEN :over = 1 THEN {now_us} ELSE NULL END
 WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token

-- ask_cancel: 0 rows mean that it is over
UPDATE runs SET cancel_asked = 1
 WHERE thread_id = :thread AND ordinal = :ordinal AND finished_at IS NULL

-- run: one run with its thread; 0 rows mean that there is none
SELECT r.thread_id, r.ordinal, r.status, t.principal, t.workflow, r.release_id, r.`usage`,
       r.error, r.created_at, r.finished_at, r.cancel_asked, r.lease_until > {now_us} AS leased
  FROM runs r JOIN threads t ON t.id = r.thread_id
 WHERE r.thread_id = :thread AND r.ordinal = :ordinal

-- runs: the newest first
SELECT r.thread_id, r.ordinal, r.status, t.principal, t.workflow, r.release_id, r.`usage`,
       r.error, r.created_at, r.finished_at, r.cancel_asked, r.lease_until > {now_us} AS leased
  FROM runs r JOIN threads t ON t.id = r.thread_id
 WHERE :status = '' OR r.status = :status
 ORDER BY r.created_at DESC, r.thread_id DESC, r.ordinal DESC LIMIT :limit

-- insert_outbox: a message that leaves after the commit
INSERT INTO outbox (id, thread_id, kind, body, attempts, due_at, sent_at)
VALUES (:id, :thread, :kind, :body, 0, {now_us}, NULL)

-- lock_thread: as `thread`, for whoever is about to hang something on it or to remove it
SELECT id, principal, workflow, head, forked_from, forked_at FROM threads WHERE id = :thread {lock}

-- old_threads: whose last run was over before then, and that nobody was forked from
SELECT t.id FROM threads t
 WHERE t.created_at < :before_us
   AND NOT EXISTS (SELECT 1 FROM threads f WHERE f.forked_from = t.id)
   AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.thread_id = t.id
                      AND (r.finished_at IS NULL OR r.finished_at >= :before_us))
   AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.thread_id = t.id AND o.sent_at IS NULL)
 LIMIT 100

-- old_thread: 0 rows mean that it is none of `old_threads` any more
SELECT t.id FROM threads t
 WHERE t.id = :thread AND t.created_at < :before_us
   AND NOT EXISTS (SELECT 1 FROM threads f WHERE f.forked_from = t.id)
   AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.thread_id = t.id
                      AND (r.finished_at IS NULL OR r.finished_at >= :before_us))
   AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.thread_id = t.id AND o.sent_at IS NULL)

-- delete_events: with their thread
DELETE FROM events WHERE thread_id = :thread

-- delete_runs: with their thread
DELETE FROM runs WHERE thread_id = :thread

-- delete_outbox: what was sent, with its thread
DELETE FROM outbox WHERE thread_id = :thread

-- delete_thread: last of all
DELETE FROM threads WHERE id = :thread

-- schema_version: which migration was applied last
SELECT version_num FROM twelvefold_version
