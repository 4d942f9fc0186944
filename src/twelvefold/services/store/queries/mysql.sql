-- What MySQL and MariaDB say in their own way.

-- fence: taken first in a step's transaction, so that a superseded process does nothing at all;
-- 0 rows mean that the thread has moved on, the lease is lost or the run is to be cancelled.
-- Both rows are written to, so that a claim or a renewal waits until this step is over and then
-- goes on: a row that was only read is locked for sharing, and two that share it deadlock. Where
-- locks end at the node (Galera), :touch is 1 and the run's row changes, which the commit checks.
-- :usage is what the run has cost by now, '' leaves it as it was; :size is that of the entries up
-- to :head, NULL leaves it as it was.
UPDATE threads t JOIN runs r ON r.thread_id = t.id AND r.ordinal = :ordinal
   SET t.head = :new, t.size = COALESCE(:size, t.size), r.lease_until = r.lease_until + :touch,
       r.`usage` = CASE WHEN :usage = '' THEN r.`usage` ELSE :usage END
 WHERE t.id = :thread AND t.head = :head AND r.lease_token = :token AND r.cancel_asked <= :cancels

-- version_table: 0 rows mean that nothing has been migrated yet
SELECT table_name AS name FROM information_schema.tables
 WHERE table_schema = DATABASE() AND table_name = 'twelvefold_version'
