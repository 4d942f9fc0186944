-- Statements whose form in SQLite differs.

-- fence: the first statement of a step, so that a process without the lease writes nothing; 0 rows mean
-- that the head has moved, the lease is lost or the run has a cancel request. :size is that of the entries
-- up to :head, NULL leaves it as it is.
UPDATE threads SET head = :new, size = COALESCE(:size, size) WHERE id = :thread AND head = :head AND EXISTS (
  SELECT 1 FROM runs WHERE thread_id = :thread AND ordinal = :ordinal AND lease_token = :token
     AND cancel_asked <= :cancels)

-- set_usage: the cost of the run so far; in MySQL the fence sets it, since an UPDATE there can change two
-- tables
UPDATE runs SET usage = :usage WHERE thread_id = :thread AND ordinal = :ordinal

-- version_table: 0 rows mean that no migration has run
SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'twelvefold_version'
