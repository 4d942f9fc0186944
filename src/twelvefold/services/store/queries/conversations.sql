-- Threads: read along, looked back at, forked, described, hidden.

-- thread: 0 rows mean that there is no such thread; one that was deleted is there
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at,
       size, listed, title
  FROM threads WHERE id = :thread

-- shown_thread: as `thread`; 0 rows mean that there is none, or that it was deleted
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at,
       size, listed, title
  FROM threads WHERE id = :thread AND deleted_at IS NULL

-- lock_thread: as `thread`, for whoever is about to hang something on it or to remove it
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at,
       size, listed, title
  FROM threads WHERE id = :thread {lock}

-- listed_threads: one principal's by their ids, the last first, each with its last run that was not
-- deleted; an older release that deletes a thread leaves it listed. MySQL compares text without the
-- spaces at its end, so the lengths of the principals are compared, too
SELECT t.id, t.principal, t.workflow, t.head, t.forked_from, t.forked_at, t.created_at, t.metadata,
       t.deleted_at, t.size, t.listed, t.title, r.ordinal, r.status, r.cancel_asked
  FROM threads t /*! FORCE INDEX (threads_listed) */ LEFT JOIN runs r ON r.thread_id = t.id
   AND r.ordinal = (SELECT l.ordinal FROM runs l
                     WHERE l.thread_id = t.id AND l.deleted_at IS NULL
                     ORDER BY l.ordinal DESC LIMIT 1)
 WHERE t.listed = 1 AND t.principal = :principal AND t.id < :after
   AND LENGTH(t.principal) = LENGTH(:principal) AND t.deleted_at IS NULL
 ORDER BY t.id DESC LIMIT :limit

-- listed_threads_upwards: as `listed_threads`, the first first
SELECT t.id, t.principal, t.workflow, t.head, t.forked_from, t.forked_at, t.created_at, t.metadata,
       t.deleted_at, t.size, t.listed, t.title, r.ordinal, r.status, r.cancel_asked
  FROM threads t /*! FORCE INDEX (threads_listed) */ LEFT JOIN runs r ON r.thread_id = t.id
   AND r.ordinal = (SELECT l.ordinal FROM runs l
                     WHERE l.thread_id = t.id AND l.deleted_at IS NULL
                     ORDER BY l.ordinal DESC LIMIT 1)
 WHERE t.listed = 1 AND t.principal = :principal AND t.id > :after
   AND LENGTH(t.principal) = LENGTH(:principal) AND t.deleted_at IS NULL
 ORDER BY t.id LIMIT :limit

-- listed_thread: as `listed_threads`, one of them
SELECT t.id, t.principal, t.workflow, t.head, t.forked_from, t.forked_at, t.created_at, t.metadata,
       t.deleted_at, t.size, t.listed, t.title, r.ordinal, r.status, r.cancel_asked
  FROM threads t LEFT JOIN runs r ON r.thread_id = t.id
   AND r.ordinal = (SELECT l.ordinal FROM runs l
                     WHERE l.thread_id = t.id AND l.deleted_at IS NULL
                     ORDER BY l.ordinal DESC LIMIT 1)
 WHERE t.id = :thread AND t.deleted_at IS NULL

-- rests: how often these threads' last runs went on after they had to wait for a person; the outcome
-- of a call that a cancelled run leaves open is final, and waits for nobody
SELECT r.thread_id, COUNT(*) AS rests
  FROM runs r JOIN events e ON e.thread_id = r.thread_id AND e.run = r.ordinal
   AND e.position >= COALESCE(r.began, 1) AND e.type IN ('ApprovalAsked', 'OutcomeUnknown')
 WHERE r.thread_id IN (:threads) AND r.deleted_at IS NULL
   AND r.ordinal = (SELECT l.ordinal FROM runs l
                     WHERE l.thread_id = r.thread_id AND l.deleted_at IS NULL
                     ORDER BY l.ordinal DESC LIMIT 1)
   AND EXISTS (SELECT 1 FROM events n WHERE n.thread_id = e.thread_id
                  AND n.position = e.position + 1 AND n.run = e.run
                  AND n.type NOT IN ('ItemsAdded', 'ItemRemoved'))
   AND NOT EXISTS (SELECT 1 FROM events f WHERE f.thread_id = e.thread_id
                      AND f.position = e.position AND f.type = 'OutcomeUnknown'
                      AND f.body LIKE '%"final":true}')
 GROUP BY r.thread_id

-- unclassified: threads of an older release, of which nobody knows whether they are listed
SELECT id FROM threads /*! FORCE INDEX (threads_listed) */ WHERE listed IS NULL
 ORDER BY principal DESC, id DESC LIMIT :limit

-- unclassified_of: the same, of one principal
SELECT id FROM threads /*! FORCE INDEX (threads_listed) */ WHERE listed IS NULL AND principal = :principal
 ORDER BY id DESC LIMIT :limit

-- lock_unclassified: against who deletes of them, which takes their rows first; those that are missing
-- are just being gone on with
SELECT id, head, forked_from, forked_at, deleted_at, listed, title
  FROM threads WHERE id IN (:threads) AND (listed IS NULL OR title IS NULL) {skip_locked}

-- some_threads: as `lock_unclassified`, to look only
SELECT id, head, forked_from, forked_at, deleted_at, listed, title
  FROM threads WHERE id IN (:threads)

-- openings: entries that came from outside, from which on a user may have said something
SELECT position FROM events
 WHERE thread_id = :thread AND position > :after AND position <= :to
   AND type IN ('RunStarted', 'ItemsAdded')
 ORDER BY position LIMIT :limit

-- first_entries: the first of each thread's own; a body that is large is not read
SELECT e.thread_id, e.position, e.run, e.type, e.version, e.at_us,
       CASE WHEN LENGTH(e.body) <= 65536 THEN e.body END AS body
  FROM threads t JOIN events e ON e.thread_id = t.id AND e.position = COALESCE(t.forked_at, 0) + 1
 WHERE t.id IN (:threads)

-- threads_changed: those of the threads from which something was taken away again
SELECT DISTINCT thread_id AS id FROM events WHERE thread_id IN (:threads) AND type = 'ItemRemoved'
UNION
SELECT DISTINCT thread_id AS id FROM runs WHERE thread_id IN (:threads) AND deleted_at IS NOT NULL

-- classify: what was found out of a thread
UPDATE threads SET title = :title,
       listed = CASE WHEN listed IS NULL THEN :listed ELSE listed END
 WHERE id = :thread

-- forget_title: it is made anew when it is wanted
UPDATE threads SET title = NULL WHERE id = :thread

-- forget_titles: as `forget_title`
UPDATE threads SET title = NULL WHERE id IN (:threads)

-- forks: of these threads, with where they go on from
SELECT id, forked_from, forked_at FROM threads WHERE forked_from IN (:threads)

-- events: the journal of one thread up to a position, in order; as bytes, since text of which one
-- character is not Latin takes four times as much room here
SELECT position, run, type, version, {body_bytes}, at_us FROM events
 WHERE thread_id = :thread AND position <= :position ORDER BY position

-- first_event: 0 rows mean that nothing stands behind the position
SELECT position, run, type, version, {body_bytes}, at_us FROM events
 WHERE thread_id = :thread AND position > :position ORDER BY position LIMIT 1

-- lineage: a thread and those that it was forked from, so many of them; more are behind the last of
-- them if that has an origin
WITH RECURSIVE line (id, forked_from, forked_at, depth) AS (
  SELECT id, forked_from, forked_at, 1 FROM threads WHERE id = :thread
  UNION ALL
  SELECT t.id, t.forked_from, t.forked_at, l.depth + 1
    FROM line l JOIN threads t ON t.id = l.forked_from WHERE l.depth < 100)
SELECT id, forked_from, forked_at FROM line ORDER BY depth

-- window: entries in order, until they have so many bytes; their lengths are looked at first, and only
-- the bodies that have room are read
SELECT e.position, e.run, e.type, e.version, e.body, e.at_us
  FROM (SELECT sized.position, SUM(sized.size) OVER (ORDER BY sized.position) - sized.size AS ahead
          FROM (SELECT s.position, LENGTH(s.body) AS size FROM events s
                 WHERE s.thread_id = :thread AND s.position > :after AND s.position <= :to
                 ORDER BY s.position LIMIT :rows) sized) w
  JOIN events e ON e.thread_id = :thread AND e.position = w.position
 WHERE w.ahead < :bytes
 ORDER BY e.position

-- window_back: as `window`, from the end backwards
SELECT e.position, e.run, e.type, e.version, {body_bytes}, e.at_us
  FROM (SELECT sized.position,
               SUM(sized.size) OVER (ORDER BY sized.position DESC) - sized.size AS ahead
          FROM (SELECT s.position, LENGTH(s.body) AS size FROM events s
                 WHERE s.thread_id = :thread AND s.position > :after AND s.position <= :to
                 ORDER BY s.position DESC LIMIT :rows) sized) w
  JOIN events e ON e.thread_id = :thread AND e.position = w.position
 WHERE w.ahead < :bytes
 ORDER BY e.position DESC

-- answers: to approvals, in order; the positions are found first, so that no other body is read
SELECT e.position, e.run, e.type, e.version, {body_bytes}, e.at_us
  FROM (SELECT s.position FROM events s
         WHERE s.thread_id = :thread AND s.position > :after AND s.position <= :to
           AND s.type = 'ApprovalAnswered'
         ORDER BY s.position LIMIT :rows) found
  JOIN events e ON e.thread_id = :thread AND e.position = found.position
 ORDER BY e.position

-- size_of: of the entries of one thread, in bytes; NULL for none
SELECT SUM(LENGTH(body)) AS size FROM (
  SELECT {body_bytes} FROM events
   WHERE thread_id = :thread AND position > :after AND position <= :to) bodies

-- run_at: 0 rows mean that there is no such entry
SELECT run FROM events WHERE thread_id = :thread AND position = :position

-- waits: one row always; see `rests`
SELECT COUNT(*) AS waits FROM events e
 WHERE e.thread_id = :thread AND e.run = :ordinal AND e.position < :before
   AND e.position >= COALESCE((SELECT r.began FROM runs r
                                WHERE r.thread_id = :thread AND r.ordinal = :ordinal), 1)
   AND e.type IN ('ApprovalAsked', 'OutcomeUnknown')
   AND NOT EXISTS (SELECT 1 FROM events f WHERE f.thread_id = e.thread_id
                      AND f.position = e.position AND f.type = 'OutcomeUnknown'
                      AND f.body LIKE '%"final":true}')

-- last_start: the first entry of the run that was under way at a position; 0 rows mean that none was
SELECT e.position, e.run, e.type, e.version, {body_bytes}, e.at_us FROM events e
 WHERE e.thread_id = :thread
   AND e.position = (SELECT s.position FROM events s
                      WHERE s.thread_id = :thread AND s.position > :after AND s.position <= :to
                        AND s.type = 'RunStarted'
                      ORDER BY s.position DESC LIMIT 1)

-- deleted_runs: of these threads, with where they began; an older release does not write that down
SELECT r.thread_id, r.ordinal,
       COALESCE(r.began, (SELECT e.position FROM events e
                           WHERE e.thread_id = r.thread_id AND e.run = r.ordinal
                           ORDER BY e.position LIMIT 1)) AS began
  FROM runs r WHERE r.thread_id IN (:threads) AND r.deleted_at IS NOT NULL

-- removed_items: what says that an item was taken out of one of these threads; the positions are found
-- first, so that no other body is read
SELECT e.thread_id, e.position, e.type, e.version, e.body
  FROM (SELECT r.thread_id, r.position FROM events r
         WHERE r.thread_id IN (:threads) AND r.type = 'ItemRemoved') found
  JOIN events e ON e.thread_id = found.thread_id AND e.position = found.position

-- follow: deltas and entries that are new, in one statement and so as of one moment; number 0 is
-- an entry
SELECT position, number, 0 AS run, kind AS type, 0 AS version, body, at_us FROM deltas
 WHERE thread_id = :thread AND position >= :position AND position <= :to
   AND (position > :position OR number > :number)
UNION ALL
SELECT position, 0 AS number, run, type, version, body, at_us FROM events
 WHERE thread_id = :thread AND position > :after AND position <= :to

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
                     size, listed, title)
SELECT :fork, principal, workflow, :position, id, :position, {now_us}, '', size, 1, NULL
  FROM threads WHERE id = :thread

-- describe: 0 rows mean that there is no such thread
UPDATE threads SET metadata = :metadata WHERE id = :thread AND deleted_at IS NULL

-- hide_thread: 0 rows mean that there is no such thread
UPDATE threads SET deleted_at = {now_us}, listed = 0, title = NULL
 WHERE id = :thread AND deleted_at IS NULL

-- hide_empty_thread: 0 rows mean that it has a run left, or has moved on
UPDATE threads SET deleted_at = {now_us}, listed = 0, title = NULL
 WHERE id = :thread AND head = :head AND deleted_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM runs WHERE thread_id = :thread AND deleted_at IS NULL)

-- ask_cancel_all: 0 rows mean that nothing is under way
UPDATE runs SET cancel_asked = 1, status = CASE WHEN status = 'waiting' THEN 'queued' ELSE status END
 WHERE thread_id = :thread AND finished_at IS NULL

-- runs_left: 0 rows mean that all runs of the thread were deleted
SELECT ordinal FROM runs WHERE thread_id = :thread AND deleted_at IS NULL LIMIT 1

-- signs_of_a_name: entries by which a thread may be a conversation of its own name: what was put in
-- or taken out, and starts of runs that may have been begun in it
SELECT e.position, e.type FROM events e
 WHERE e.thread_id = :thread AND e.position > :after
   AND (e.type IN ('ItemsAdded', 'ItemRemoved')
        OR (e.type = 'RunStarted' AND e.body LIKE '%"conversation":true%'))
 ORDER BY e.position LIMIT 1

-- event: one entry of a thread's own
SELECT position, run, type, version, {body_bytes}, at_us FROM events
 WHERE thread_id = :thread AND position = :position

-- hide_run: 0 rows mean that it is not over, or not there
UPDATE runs SET deleted_at = {now_us}
 WHERE thread_id = :thread AND ordinal = :ordinal AND finished_at IS NOT NULL AND deleted_at IS NULL
