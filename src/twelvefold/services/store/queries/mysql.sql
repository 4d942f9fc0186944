-- Statements whose form in MySQL and MariaDB differs.

-- fence: the first statement of a step, so that a process without the lease writes nothing; 0 rows mean
-- that the head has moved, the lease is lost or the run has a cancel request.
-- Both rows are updated, so that a claim or a renewal waits for the end of the step and then continues:
-- a row that is only read gets a shared lock, and two holders of it deadlock. Locks end at the node in
-- a Galera cluster: there :write_fence is 1, and the commit checks the changed row of the run.
-- :usage is the cost of the run so far, '' leaves it as it is; :size is that of the entries up to :head,
-- NULL leaves it as it is.
UPDATE threads t JOIN runs r ON r.thread_id = t.id AND r.ordinal = :ordinal
   SET t.head = :new, t.size = COALESCE(:size, t.size), r.lease_until = r.lease_until + :write_fence,
       r.`usage` = CASE WHEN :usage = '' THEN r.`usage` ELSE :usage END
 WHERE t.id = :thread AND t.head = :head AND r.lease_token = :token AND r.cancel_asked <= :cancels

-- version_table: 0 rows mean that no migration has run
SELECT table_name AS name FROM information_schema.tables
 WHERE table_schema = DATABASE() AND table_name = 'twelvefold_version'
