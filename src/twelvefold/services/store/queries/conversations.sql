-- Threads: read along, looked back at, forked, described, hidden.

-- thread: 0 rows mean that there is no such thread; one that was deleted is there
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at
  FROM threads WHERE id = :thread

-- shown_thread: as `thread`; 0 rows mean that there is none, or that it was deleted
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at
  FROM threads WHERE id = :thread AND deleted_at IS NULL

-- lock_thread: as `thread`, for whoever is about to hang something on it or to remove it
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at
  FROM threads WHERE id = :thread {lock}

-- threads: of one principal, newest first; an id begins with the time that it was made at
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at
  FROM threads WHERE principal = :principal AND id < :before AND deleted_at IS NULL
 ORDER BY id DESC LIMIT :limit

-- events: the journal of one thread up to a position, in order
SELECT position, run, type, version, body, at_us FROM events
 WHERE thread_id = :thread AND position <= :position ORDER BY position

-- follow: deltas and entries that are new, in one statement and so as of one moment; number 0 is
-- an entry
SELECT position, number, 0 AS run, kind AS type, 0 AS version, body, at_us FROM deltas
 WHERE thread_id = :thread AND position >= :position AND (position > :position OR number > :number)
UNION ALL
SELECT position, 0 AS number, run, type, version, body, at_us FROM events
 WHERE thread_id = :thread AND position > :after

-- marks: how far each thread is; 0 rows mean that there is none of them
SELECT t.id, t.head, (SELECT COALESCE(MAX(d.number), 0) FROM deltas d
                       WHERE d.thread_id = t.id AND d.position = t.head + 1) AS number
  FROM threads t WHERE t.id IN (:threads)

-- insert_delta: a duplicate means that somebody else has shown something there
INSERT INTO deltas (thread_id, position, number, kind, body, at_us)
VALUES (:thread, :position, :number, :kind, :body, :at_us)

-- last_delta: one row always
SELECT COALESCE(MAX(number), 0) AS number FROM deltas
 WHERE thread_id = :thread AND position = :position

-- unfinished_run: 0 rows mean that nothing is under way on this thread
SELECT ordinal FROM runs WHERE thread_id = :thread AND finished_at IS NULL LIMIT 1

-- insert_fork: a conversation that goes on from a position of another
INSERT INTO threads (id, principal, workflow, head, forked_from, forked_at, created_at, metadata)
SELECT :fork, principal, workflow, :position, id, :position, {now_us}, ''
  FROM threads WHERE id = :thread

-- describe: 0 rows mean that there is no such thread
UPDATE threads SET metadata = :metadata WHERE id = :thread AND deleted_at IS NULL

-- hide_thread: 0 rows mean that there is no such thread
UPDATE threads SET deleted_at = {now_us} WHERE id = :thread AND deleted_at IS NULL

-- ask_cancel_all: 0 rows mean that nothing is under way
UPDATE runs SET cancel_asked = 1, status = CASE WHEN status = 'waiting' THEN 'queued' ELSE status END
 WHERE thread_id = :thread AND finished_at IS NULL

-- hide_run: 0 rows mean that it is not over, or not there
UPDATE runs SET deleted_at = {now_us}
 WHERE thread_id = :thread AND ordinal = :ordinal AND finished_at IS NOT NULL AND deleted_at IS NULL
