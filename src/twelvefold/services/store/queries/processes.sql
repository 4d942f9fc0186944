-- The processes that work on the database, by their heartbeats. `record_heartbeat` is in mysql.sql and sqlite.sql.

-- remove_process: 0 rows mean that it was removed before
DELETE FROM processes WHERE id = :id

-- remove_silent_processes: processes that were killed a day ago; the table has a row for each process
DELETE FROM processes WHERE heartbeat_at <= {now_us} - 86400000000

-- processes: the last to start first
SELECT id, kind, release_id, host, pid, runs, started_at, heartbeat_at, {now_us} - heartbeat_at AS age_us
  FROM processes
 WHERE heartbeat_at > {now_us} - 86400000000
 ORDER BY started_at DESC, id DESC
