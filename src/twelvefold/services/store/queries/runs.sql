-- Runs and their steps. `:name` is a parameter; a `{word}` differs between MySQL and SQLite (`WORDS` in
-- mysql/store.py and sqlite/__init__.py). mysql.sql and sqlite.sql have the statements that differ as a
-- whole.

-- fence_thread: begins a step. It is checked before the COMMIT, so that a process without the lease writes
-- nothing; 0 rows mean that the head has moved. :size is that of the entries up to :head, NULL leaves it as
-- it is. Every transaction that locks both rows locks the thread's first: otherwise two of them deadlock
UPDATE threads SET head = :new, size = COALESCE(:size, size) WHERE id = :thread AND head = :head

-- fence_run: the second part of the fence; 0 rows mean that the lease is lost or the run has a cancel
-- request. The row is updated, so that a claim or a renewal waits for the end of the step. A row that is
-- only read gets a shared lock, and two holders of it deadlock. Locks end at the node in a cluster with
-- several writers. There :write_fence is 1, and the commit checks the changed row. :usage is the cost of
-- the run so far, '' leaves it as it is
UPDATE runs SET lease_until = lease_until + :write_fence,
       `usage` = CASE WHEN :usage = '' THEN `usage` ELSE :usage END
 WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token AND cancel_asked <= :cancels

-- settle_run: as `fence_run`, for a step that ends the run or lets it wait; releases the lease. A run that
-- was woken since its holder read :wakes is queued instead of waiting; -1: it waits in any case. A run may
-- be woken many times without an entry: each of them is no failed attempt
UPDATE runs SET status = CASE WHEN :wakes >= 0 AND COALESCE(wakes, 0) <> :wakes THEN 'queued'
                              ELSE :status END,
       wake_at = :wake_at, error = :error, lease_until = 0, lease_token = '', attempts = 0,
       finished_at = CASE WHEN :over = 1 THEN {now_us} ELSE NULL END,
       `usage` = CASE WHEN :usage = '' THEN `usage` ELSE :usage END
 WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token AND cancel_asked <= :cancels

-- insert_thread: a new thread, with its first entry or (head 0) without entries
INSERT INTO threads (id, principal, workflow, head, forked_from, forked_at, created_at, metadata,
                     size, listed, title)
VALUES (:thread, :principal, :workflow, :head, NULL, NULL, {now_us}, :metadata,
        :size, :listed, :title)

-- insert_child_thread: the hidden thread of a run that another run starts, with its first entry
INSERT INTO threads (id, principal, workflow, head, forked_from, forked_at, created_at, metadata,
                     size, listed, title, parent_thread, parent_run)
VALUES (:thread, :principal, :workflow, 1, NULL, NULL, {now_us}, '',
        :size, 0, '', :parent_thread, :parent_run)

-- advance_thread: adds one entry; 0 rows mean that the head has moved or that the thread was deleted.
-- The thread's own first entry decides whether it is listed, the first user message gives its title
UPDATE threads SET head = :head + 1, size = :size,
       workflow = CASE WHEN workflow = '' THEN :workflow ELSE workflow END,
       listed = CASE WHEN listed IS NOT NULL AND :head = COALESCE(forked_at, 0) THEN :listed
                     ELSE listed END,
       title = CASE WHEN title = '' OR (title IS NULL AND :head = 0) THEN :title ELSE title END
 WHERE id = :thread AND head = :head AND deleted_at IS NULL

-- insert_run: a new run, leased or (with an empty token) queued
INSERT INTO runs (thread_id, ordinal, status, lease_token, lease_until, background, cancel_asked,
                  idempotency_key, `usage`, error, release_id, created_at, finished_at,
                  workflow, principal, began, key_id, priority)
VALUES (:thread, :ordinal, :status, :token, {now_us} + :lease_us, :background, 0,
        :idempotency_key, '', '', :release, {now_us}, NULL,
        :workflow, :principal, :began, :key_id, :priority)

-- insert_event: one entry of the journal
INSERT INTO events (thread_id, position, run, type, version, body, at_us)
VALUES (:thread, :position, :run, :type, :version, :body, :at_us)

-- forget_request: deletes a key of a day ago, so that the caller can use it again
DELETE FROM idempotency_keys WHERE principal = :principal AND request_key = :request_key
   AND created_at <= {now_us} - 86400000000

-- insert_request: a duplicate means that the request is a repetition
INSERT INTO idempotency_keys (principal, request_key, body_hash, thread_id, ordinal, created_at)
VALUES (:principal, :request_key, :body_hash, :thread, :ordinal, {now_us})

-- request: 0 rows mean that no request with this key was made within a day
SELECT body_hash, thread_id, ordinal FROM idempotency_keys
 WHERE principal = :principal AND request_key = :request_key
   AND created_at > {now_us} - 86400000000

-- run_state: the reason why a fence failed; 0 rows mean that the run does not exist
SELECT r.status, r.lease_token, r.cancel_asked, r.idempotency_key, t.head
  FROM runs r JOIN threads t ON t.id = r.thread_id
 WHERE r.thread_id = :thread AND r.ordinal = :ordinal

-- lock_run: the last lease, and the attempts since its thread's last entry; 0 rows mean that the run
-- does not exist. A row that a step has locked is an error at once
SELECT lease_token, cancel_asked, attempts, attempts_head, `usage`,
       (SELECT head FROM threads WHERE id = :thread) AS head,
       (SELECT size FROM threads WHERE id = :thread) AS thread_size FROM runs
 WHERE thread_id = :thread AND ordinal = :ordinal {nowait}

-- claim: 0 rows mean that another process holds the run, or that it is over. A run with a
-- cancel request can be taken from its holder: any process can write its end. If the run has :token
-- already, the claim is a repetition
UPDATE runs SET status = 'running', lease_token = :token, lease_until = {now_us} + :lease_us,
       attempts = :attempts, attempts_head = :head
 WHERE thread_id = :thread AND ordinal = :ordinal AND finished_at IS NULL
   AND (lease_until <= {now_us} OR cancel_asked = 1 OR lease_token = :token)

-- renew: 0 rows mean that another process holds the run
UPDATE runs SET lease_until = {now_us} + :lease_us
 WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token

-- keep_lease: 0 rows mean that another process holds the run, or that it has a cancel request
UPDATE runs SET lease_until = {now_us} + :lease_us
 WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token AND cancel_asked = 0

-- release: 0 rows mean that another process holds the run. :requeue_last queues it after the runs that wait
-- already. Unless :counts is 1 the attempt is not counted. :usage '' leaves the usage as it is. A run
-- with a cancel request is queued instead of waiting for a person, so that any worker ends it. Time continues
-- none of them: a run that waits for a time is settled
UPDATE runs SET status = CASE WHEN cancel_asked = 1 THEN 'queued' ELSE :status END,
       lease_token = :new_token,
       attempts = CASE WHEN attempts > 0 AND :counts = 0 THEN attempts - 1 ELSE attempts END,
       `usage` = CASE WHEN :usage = '' THEN `usage` ELSE :usage END, error = :error,
       lease_until = CASE WHEN :requeue_last THEN {now_us} ELSE 0 END, wake_at = NULL
 WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token

-- delete_recorded_deltas: the pieces of a reply that its entry now holds
DELETE FROM deltas WHERE thread_id = :thread AND position = :position AND number >= :number

-- close_deltas: takes the next number, so that no process can add another piece there; a duplicate
-- means that one has just done so
INSERT INTO deltas (thread_id, position, number, kind, body, at_us)
SELECT :thread, :position, COALESCE(MAX(number), 0) + 1, 'restarted', '', :at_us
  FROM deltas WHERE thread_id = :thread AND position = :position

-- ask_cancel: 0 rows mean that the run is over. A run that waits for a person is queued, so that any
-- worker ends it
UPDATE runs SET cancel_asked = 1, status = CASE WHEN status = 'waiting' THEN 'queued' ELSE status END
 WHERE thread_id = :thread AND ordinal = :ordinal AND finished_at IS NULL

-- run: one run, and the positions at which it and the next run begin, which older releases did not
-- store; 0 rows mean that it does not exist or was deleted
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

-- runs: newest first
SELECT r.thread_id, r.ordinal, r.status, t.principal, t.workflow, r.release_id, r.`usage`,
       r.error, r.created_at, r.finished_at, r.cancel_asked, r.background,
       t.size AS thread_size,
       r.lease_until > {now_us} AS leased
  FROM runs r JOIN threads t ON t.id = r.thread_id
 WHERE (:status = '' OR r.status = :status) AND r.deleted_at IS NULL
 ORDER BY r.created_at DESC, r.thread_id DESC, r.ordinal DESC LIMIT :limit
