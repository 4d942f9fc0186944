-- What SQLite says in its own way.

-- fence: taken first in a step's transaction, so that a superseded process does nothing at all;
-- 0 rows mean that the thread has moved on, the lease is lost or the run is to be cancelled. :size
-- is that of the entries up to :head, NULL leaves it as it was.
UPDATE threads SET head = :new, size = COALESCE(:size, size) WHERE id = :thread AND head = :head AND EXISTS (
  SELECT 1 FROM runs WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token
     AND cancel_asked <= :cancels)

-- spend: what the run has cost by now; the fence of MySQL, which may change two tables, says it, too
UPDATE runs SET usage = :usage WHERE thread_id = :thread AND ordinal = :ordinal

-- version_table: 0 rows mean that nothing has been migrated yet
SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'twelvefold_version'
