-- Threads: follow, read, list, fork, describe and hide them.

-- thread: 0 rows mean that it does not exist; a deleted thread is found
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at,
       size, listed, title
  FROM threads WHERE id = :thread

-- visible_thread: as `thread`; 0 rows mean that it does not exist or was deleted
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at,
       size, listed, title
  FROM threads WHERE id = :thread AND deleted_at IS NULL

-- lock_thread: as `thread`, locked for a change of its entries or runs
SELECT id, principal, workflow, head, forked_from, forked_at, created_at, metadata, deleted_at,
       size, listed, title
  FROM threads WHERE id = :thread {lock}

-- listed_threads: one principal's threads by id, newest first, each with its last run that was not
-- deleted. An older release that deletes a thread leaves it listed. MySQL ignores spaces at the end of
-- text in a comparison, so the lengths of the principals are compared too
SELECT t.id, t.principal, t.workflow, t.head, t.forked_from, t.forked_at, t.created_at, t.metadata,
       t.deleted_at, t.size, t.listed, t.title, r.ordinal, r.status, r.cancel_asked
  FROM threads t /*! FORCE INDEX (threads_listed) */ LEFT JOIN runs r ON r.thread_id = t.id
   AND r.ordinal = (SELECT l.ordinal FROM runs l
                     WHERE l.thread_id = t.id AND l.deleted_at IS NULL
                     ORDER BY l.ordinal DESC LIMIT 1)
 WHERE t.listed = 1 AND t.principal = :principal AND t.id < :after
   AND LENGTH(t.principal) = LENGTH(:principal) AND t.deleted_at IS NULL
 ORDER BY t.id DESC LIMIT :limit

-- listed_threads_upwards: as `listed_threads`, oldest first
SELECT t.id, t.principal, t.workflow, t.head, t.forked_from, t.forked_at, t.created_at, t.metadata,
       t.deleted_at, t.size, t.listed, t.title, r.ordinal, r.status, r.cancel_asked
  FROM threads t /*! FORCE INDEX (threads_listed) */ LEFT JOIN runs r ON r.thread_id = t.id
   AND r.ordinal = (SELECT l.ordinal FROM runs l
                     WHERE l.thread_id = t.id AND l.deleted_at IS NULL
                     ORDER BY l.ordinal DESC LIMIT 1)
 WHERE t.listed = 1 AND t.principal = :principal AND t.id > :after
   AND LENGTH(t.principal) = LENGTH(:principal) AND t.deleted_at IS NULL
 ORDER BY t.id LIMIT :limit

-- listed_thread: as `listed_threads`, one thread
SELECT t.id, t.principal, t.workflow, t.head, t.forked_from, t.forked_at, t.created_at, t.metadata,
       t.deleted_at, t.size, t.listed, t.title, r.ordinal, r.status, r.cancel_asked
  FROM threads t LEFT JOIN runs r ON r.thread_id = t.id
   AND r.ordinal = (SELECT l.ordinal FROM runs l
                     WHERE l.thread_id = t.id AND l.deleted_at IS NULL
                     ORDER BY l.ordinal DESC LIMIT 1)
 WHERE t.id = :thread AND t.deleted_at IS NULL

-- continuations: how often the last run of each thread continued after it had to wait for a person. The
-- unknown outcome of a call of a cancelled run is final: the run did not wait for it
SELECT r.thread_id, COUNT(*) AS continuations
  FROM runs r JOIN events e ON e.thread_id = r.thread_id AND e.run = r.ordinal
   AND e.position >= COALESCE(r.began, 1)
   AND (e.type IN ('ApprovalAsked', 'ChildAsked', 'OutcomeUnknown')
        OR (e.type = 'WaitStarted' AND e.body LIKE '%"question":"%'))
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

-- unclassified: threads of an older release, which did not store whether they are listed
SELECT id FROM threads /*! FORCE INDEX (threads_listed) */ WHERE listed IS NULL
 ORDER BY principal DESC, id DESC LIMIT :limit

-- unclassified_of: as `unclassified`, for one principal
SELECT id FROM threads /*! FORCE INDEX (threads_listed) */ WHERE listed IS NULL AND principal = :principal
 ORDER BY id DESC LIMIT :limit

-- lock_unclassified: blocks deletions, which lock these rows first. A row that another transaction has locked
-- is an error at once
SELECT id, head, forked_from, forked_at, deleted_at, listed, title
  FROM threads WHERE id IN (:threads) AND (listed IS NULL OR title IS NULL) {nowait}

-- threads_to_classify: as `lock_unclassified`, without a lock
SELECT id, head, forked_from, forked_at, deleted_at, listed, title
  FROM threads WHERE id IN (:threads)

-- input_entries: the entries that may hold a user message
SELECT position FROM events
 WHERE thread_id = :thread AND position > :after AND position <= :to
   AND type IN ('RunStarted', 'ItemsAdded')
 ORDER BY position LIMIT :limit

-- first_entries: each thread's own first entry; the body is NULL if it is large
SELECT e.thread_id, e.position, e.run, e.type, e.version, e.at_us,
       CASE WHEN LENGTH(e.body) <= 65536 THEN e.body END AS body
  FROM threads t JOIN events e ON e.thread_id = t.id AND e.position = COALESCE(t.forked_at, 0) + 1
 WHERE t.id IN (:threads)

-- threads_with_removals: those of the threads that had an item removed or a run deleted
SELECT DISTINCT thread_id AS id FROM events WHERE thread_id IN (:threads) AND type = 'ItemRemoved'
UNION
SELECT DISTINCT thread_id AS id FROM runs WHERE thread_id IN (:threads) AND deleted_at IS NOT NULL

-- classify: stores what was missing of a thread
UPDATE threads SET title = :title,
       listed = CASE WHEN listed IS NULL THEN :listed ELSE listed END
 WHERE id = :thread

-- forget_title: a title that is NULL is computed when it is read
UPDATE threads SET title = NULL WHERE id = :thread

-- forget_titles: as `forget_title`
UPDATE threads SET title = NULL WHERE id IN (:threads)

-- forks: the forks of these threads
SELECT id, forked_from, forked_at FROM threads {by_origin} WHERE forked_from IN (:threads)

-- children: the threads whose runs were started by runs of these threads
SELECT id FROM threads {by_parent} WHERE parent_thread IN (:threads)

-- children_of_run: the threads whose runs a run has started
SELECT id FROM threads {by_parent} WHERE parent_thread = :thread AND parent_run = :ordinal

-- events: the entries of one thread up to a position, in order. The bodies are read as bytes: Python text
-- with one character beyond Latin-1 takes up to four times the memory
SELECT position, run, type, version, {body_bytes}, at_us FROM events
 WHERE thread_id = :thread AND position <= :position ORDER BY position

-- first_event: 0 rows mean that there is no entry after the position
SELECT position, run, type, version, {body_bytes}, at_us FROM events
 WHERE thread_id = :thread AND position > :position ORDER BY position LIMIT 1

-- lineage: a thread and the threads it was forked from, at most 100; there are more if the last one was
-- forked too
WITH RECURSIVE line (id, forked_from, forked_at, depth) AS (
  SELECT id, forked_from, forked_at, 1 FROM threads WHERE id = :thread
  UNION ALL
  SELECT t.id, t.forked_from, t.forked_at, l.depth + 1
    FROM line l JOIN threads t ON t.id = l.forked_from WHERE l.depth < 100)
SELECT id, forked_from, forked_at FROM line ORDER BY depth

-- window: entries in order, until they have :bytes. Their lengths are read first, then only the bodies
-- that fit
SELECT e.position, e.run, e.type, e.version, e.body, e.at_us
  FROM (SELECT sized.position, SUM(sized.size) OVER (ORDER BY sized.position) - sized.size AS ahead
          FROM (SELECT s.position, LENGTH(s.body) AS size FROM events s
                 WHERE s.thread_id = :thread AND s.position > :after AND s.position <= :to
                 ORDER BY s.position LIMIT :rows) sized) w
  JOIN events e ON e.thread_id = :thread AND e.position = w.position
 WHERE w.ahead < :bytes
 ORDER BY e.position

-- window_back: as `window`, backwards from the end
SELECT e.position, e.run, e.type, e.version, {body_bytes}, e.at_us
  FROM (SELECT sized.position,
               SUM(sized.size) OVER (ORDER BY sized.position DESC) - sized.size AS ahead
          FROM (SELECT s.position, LENGTH(s.body) AS size FROM events s
                 WHERE s.thread_id = :thread AND s.position > :after AND s.position <= :to
                 ORDER BY s.position DESC LIMIT :rows) sized) w
  JOIN events e ON e.thread_id = :thread AND e.position = w.position
 WHERE w.ahead < :bytes
 ORDER BY e.position DESC

-- answers: answers to approvals, in order; the positions are found first, so that no other body is read
SELECT e.position, e.run, e.type, e.version, {body_bytes}, e.at_us
  FROM (SELECT s.position FROM events s
         WHERE s.thread_id = :thread AND s.position > :after AND s.position <= :to
           AND s.type = 'ApprovalAnswered'
         ORDER BY s.position LIMIT :rows) found
  JOIN events e ON e.thread_id = :thread AND e.position = found.position
 ORDER BY e.position

-- size_of: the bytes of the entries of one thread; NULL if there are none
SELECT SUM(LENGTH(body)) AS size FROM (
  SELECT {body_bytes} FROM events
   WHERE thread_id = :thread AND position > :after AND position <= :to) bodies

-- run_at: 0 rows mean that the entry does not exist
SELECT run FROM events WHERE thread_id = :thread AND position = :position

-- waits: always one row; see `continuations`
SELECT COUNT(*) AS waits FROM events e
 WHERE e.thread_id = :thread AND e.run = :ordinal AND e.position < :before
   AND e.position >= COALESCE((SELECT r.began FROM runs r
                                WHERE r.thread_id = :thread AND r.ordinal = :ordinal), 1)
   AND (e.type IN ('ApprovalAsked', 'ChildAsked', 'OutcomeUnknown')
        OR (e.type = 'WaitStarted' AND e.body LIKE '%"question":"%'))
   AND NOT EXISTS (SELECT 1 FROM events f WHERE f.thread_id = e.thread_id
                      AND f.position = e.position AND f.type = 'OutcomeUnknown'
                      AND f.body LIKE '%"final":true}')

-- last_start: the first entry of the run in progress at a position; 0 rows mean that none was
SELECT e.position, e.run, e.type, e.version, {body_bytes}, e.at_us FROM events e
 WHERE e.thread_id = :thread
   AND e.position = (SELECT s.position FROM events s
                      WHERE s.thread_id = :thread AND s.position > :after AND s.position <= :to
                        AND s.type = 'RunStarted'
                      ORDER BY s.position DESC LIMIT 1)

-- deleted_runs: the deleted runs of these threads, with their first position, which older releases did
-- not store
SELECT r.thread_id, r.ordinal,
       COALESCE(r.began, (SELECT e.position FROM events e
                           WHERE e.thread_id = r.thread_id AND e.run = r.ordinal
                           ORDER BY e.position LIMIT 1)) AS began
  FROM runs r WHERE r.thread_id IN (:threads) AND r.deleted_at IS NOT NULL

-- removed_items: the entries that removed an item from one of these threads; the positions are found
-- first, so that no other body is read
SELECT e.thread_id, e.position, e.type, e.version, e.body
  FROM (SELECT r.thread_id, r.position FROM events r
         WHERE r.thread_id IN (:threads) AND r.type = 'ItemRemoved') found
  JOIN events e ON e.thread_id = found.thread_id AND e.position = found.position

-- follow: new deltas and entries, in one statement and so from one snapshot; number 0 is an entry
SELECT position, number, 0 AS run, kind AS type, 0 AS version, body, at_us FROM deltas
 WHERE thread_id = :thread AND position >= :position AND position <= :to
   AND (position > :position OR number > :number)
UNION ALL
SELECT position, 0 AS number, run, type, version, body, at_us FROM events
 WHERE thread_id = :thread AND position > :after AND position <= :to

-- marks: each thread's head, and its last delta after that
SELECT t.id, t.head, (SELECT COALESCE(MAX(d.number), 0) FROM deltas d
                       WHERE d.thread_id = t.id AND d.position = t.head + 1) AS number
  FROM threads t WHERE t.id IN (:threads)

-- insert_delta: a duplicate means that another process has published a piece there
INSERT INTO deltas (thread_id, position, number, kind, body, at_us)
VALUES (:thread, :position, :number, :kind, :body, :at_us)

-- last_delta: always one row
SELECT COALESCE(MAX(number), 0) AS number FROM deltas
 WHERE thread_id = :thread AND position = :position

-- unfinished_run: 0 rows mean that no run of this thread is in progress
SELECT ordinal FROM runs WHERE thread_id = :thread AND finished_at IS NULL LIMIT 1

-- lock_origin: keeps a thread that is being forked from being pruned. Locks its own first entry, which no
-- step ever locks. 0 rows mean that it has been pruned
SELECT position FROM events WHERE thread_id = :thread AND position = :first {lock}

-- insert_fork: a thread that continues another one from a position; at most as large as that
INSERT INTO threads (id, principal, workflow, head, forked_from, forked_at, created_at, metadata,
                     size, listed, title)
SELECT :fork, principal, workflow, :position, id, :position, {now_us}, '', size, 1, NULL
  FROM threads WHERE id = :thread

-- describe: 0 rows mean that the thread does not exist
UPDATE threads SET metadata = :metadata WHERE id = :thread AND deleted_at IS NULL

-- hide_thread: 0 rows mean that the thread does not exist
UPDATE threads SET deleted_at = {now_us}, listed = 0, title = NULL
 WHERE id = :thread AND deleted_at IS NULL

-- hide_empty_thread: 0 rows mean that it has a run left, or that its head has moved
UPDATE threads SET deleted_at = {now_us}, listed = 0, title = NULL
 WHERE id = :thread AND head = :head AND deleted_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM runs WHERE thread_id = :thread AND deleted_at IS NULL)

-- ask_cancel_all: 0 rows mean that no run is in progress
UPDATE runs SET cancel_asked = 1, status = CASE WHEN status = 'waiting' THEN 'queued' ELSE status END
 WHERE thread_id = :thread AND finished_at IS NULL

-- runs_left: 0 rows mean that all runs of the thread were deleted
SELECT ordinal FROM runs WHERE thread_id = :thread AND deleted_at IS NULL LIMIT 1

-- naming_entries: entries that may make the thread a named conversation: items that were added or
-- removed, and starts of runs that may belong to a conversation
SELECT e.position, e.type FROM events e
 WHERE e.thread_id = :thread AND e.position > :after
   AND (e.type IN ('ItemsAdded', 'ItemRemoved')
        OR (e.type = 'RunStarted' AND e.body LIKE '%"conversation":true%'))
 ORDER BY e.position LIMIT 1

-- event: one of a thread's own entries
SELECT position, run, type, version, {body_bytes}, at_us FROM events
 WHERE thread_id = :thread AND position = :position

-- hide_run: 0 rows mean that the run is not over, or does not exist
UPDATE runs SET deleted_at = {now_us}
 WHERE thread_id = :thread AND ordinal = :ordinal AND finished_at IS NOT NULL AND deleted_at IS NULL
