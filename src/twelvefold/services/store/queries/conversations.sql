-- Threads: read along, looked back at, forked, described, hidden.

-- thread: 0 rows mean that there is no such thread; one that was deleted is there
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at, size
  FROM threads WHERE id = :thread

-- shown_thread: as `thread`; 0 rows mean that there is none, or that it was deleted
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at, size
  FROM threads WHERE id = :thread AND deleted_at IS NULL

-- lock_thread: as `thread`, for whoever is about to hang something on it or to remove it
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at, size
  FROM threads WHERE id = :thread {lock}

-- threads: of one principal, newest first, each with how its last run is; an id begins with the time
-- that it was made at
SELECT t.id, t.principal, t.workflow, t.head, t.forked_from, t.forked_at, t.created_at, t.metadata,
       t.deleted_at, t.size, r.status, r.cancel_asked
  FROM threads t LEFT JOIN runs r ON r.thread_id = t.id AND r.deleted_at IS NULL
   AND r.ordinal = (SELECT l.ordinal FROM runs l WHERE l.thread_id = t.id
                     ORDER BY l.ordinal DESC LIMIT 1)
 WHERE t.principal = :principal AND t.id < :before AND t.deleted_at IS NULL
 ORDER BY t.id DESC LIMIT :limit

-- listed: of each thread the entries of a `ListedThread`, some of them twice; `line` has the thread
-- and those that it was forked from, `last_run` where its last run begins and ends by now
WITH RECURSIVE line (listed, id, head, forked_from, forked_at, depth) AS (
  SELECT id, id, head, forked_from, forked_at, 0 FROM threads WHERE id IN (:threads)
  UNION ALL
  SELECT l.listed, t.id, l.forked_at, t.forked_from, t.forked_at, l.depth + 1
    FROM line l JOIN threads t ON t.id = l.forked_from WHERE l.depth < 100),
last_run AS (
  SELECT t.id,
         (SELECT b.position FROM events b WHERE b.thread_id = t.id AND b.type = 'RunStarted'
           ORDER BY b.position DESC LIMIT 1) AS began,
         (SELECT z.position FROM events z WHERE z.thread_id = t.id
             AND z.type NOT IN ('ItemsAdded', 'ItemRemoved')
           ORDER BY z.position DESC LIMIT 1) AS ended
    FROM threads t WHERE t.id IN (:threads))
SELECT l.listed, e.position, e.run, e.type, e.version, e.body, e.at_us
  FROM line l JOIN events e ON e.thread_id = l.id AND e.position = (
       SELECT s.position FROM events s WHERE s.thread_id = l.id AND s.position <= l.head
          AND s.type IN ('RunStarted', 'ItemsAdded') AND s.body LIKE '%"role":"user"%'
          AND NOT EXISTS (SELECT 1 FROM runs g WHERE g.thread_id = s.thread_id
                             AND g.ordinal = s.run AND g.deleted_at IS NOT NULL)
        ORDER BY s.position LIMIT 1)
UNION ALL
SELECT r.id AS listed, e.position, e.run, e.type, e.version, e.body, e.at_us
  FROM last_run r JOIN events e ON e.thread_id = r.id AND e.position >= r.began
 WHERE e.type IN ('RunStarted', 'ItemsAdded', 'ApprovalAsked', 'OutcomeUnknown')
    OR e.position = r.ended

-- events: the journal of one thread up to a position, in order; as bytes, since text of which one
-- character is not Latin takes four times as much room here
SELECT position, run, type, version, {body_bytes}, at_us FROM events
 WHERE thread_id = :thread AND position <= :position ORDER BY position

-- first_event: 0 rows mean that nothing stands behind the position
SELECT position, run, type, version, {body_bytes}, at_us FROM events
 WHERE thread_id = :thread AND position > :position ORDER BY position LIMIT 1

-- deleted_runs: those of them that had begun at a position
SELECT r.ordinal FROM runs r
 WHERE r.thread_id = :thread AND r.deleted_at IS NOT NULL
   AND EXISTS (SELECT 1 FROM events e WHERE e.thread_id = r.thread_id
                  AND e.position <= :position AND e.run = r.ordinal)

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

-- hold_origin: keeps a thread that is about to be forked from being pruned; its own first entry
-- stands for it, since no step ever waits for that. 0 rows mean that it has been pruned
SELECT position FROM events WHERE thread_id = :thread AND position = :first {share}

-- insert_fork: a conversation that goes on from a position of another; it is no larger than that
INSERT INTO threads (id, principal, workflow, head, forked_from, forked_at, created_at, metadata,
                     size)
SELECT :fork, principal, workflow, :position, id, :position, {now_us}, '', size
  FROM threads WHERE id = :thread

-- describe: 0 rows mean that there is no such thread
UPDATE threads SET metadata = :metadata WHERE id = :thread AND deleted_at IS NULL

-- hide_thread: 0 rows mean that there is no such thread
UPDATE threads SET deleted_at = {now_us} WHERE id = :thread AND deleted_at IS NULL

-- hide_empty_thread: 0 rows mean that it has a run left, or has moved on
UPDATE threads SET deleted_at = {now_us}
 WHERE id = :thread AND head = :head AND deleted_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM runs WHERE thread_id = :thread AND deleted_at IS NULL)

-- ask_cancel_all: 0 rows mean that nothing is under way
UPDATE runs SET cancel_asked = 1, status = CASE WHEN status = 'waiting' THEN 'queued' ELSE status END
 WHERE thread_id = :thread AND finished_at IS NULL

-- hide_run: 0 rows mean that it is not over, or not there
UPDATE runs SET deleted_at = {now_us}
 WHERE thread_id = :thread AND ordinal = :ordinal AND finished_at IS NOT NULL AND deleted_at IS NULL
