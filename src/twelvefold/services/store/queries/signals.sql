-- Events that are sent to runs, and wake-ups. Sender and receiver of an event lock its row of `signals`,
-- so a run that begins to wait sees an event that was sent, or its sender sees that the run waits.
-- `reserve_signal` and `add_signal_wait` are in mysql.sql and sqlite.sql.

-- send_signal: 0 rows mean that the event was sent before
UPDATE signals SET payload = :payload, sender = :sender, sent_at = {now_us}
 WHERE id = :signal AND payload IS NULL

-- signal_waits: the runs that wait for an event
SELECT thread_id, ordinal FROM signal_waits WHERE signal_id = :signal

-- sent_signal: 0 rows mean that the event has not been sent
SELECT payload, sender, sent_at FROM signals WHERE id = :signal AND payload IS NOT NULL

-- wake: makes a run look again at what it waits for. The counter also reaches a run that a process holds,
-- which then does not begin to wait. 0 rows mean that the run is over
UPDATE runs SET wakes = COALESCE(wakes, 0) + 1,
       status = CASE WHEN status = 'waiting' THEN 'queued' ELSE status END
 WHERE thread_id = :thread AND ordinal = :ordinal AND finished_at IS NULL

-- child_states: runs that a waiting run started
SELECT thread_id, ordinal, status FROM runs WHERE thread_id IN (:threads)

-- descendants: how many runs are below a run in total. A run's children are on threads of their own
WITH RECURSIVE below (id) AS (
  SELECT id FROM threads {by_parent} WHERE parent_thread = :thread AND parent_run = :ordinal
  UNION ALL
  SELECT t.id FROM below b {straight_join} threads t {by_parent} ON t.parent_thread = b.id)
SELECT COUNT(*) AS descendants FROM below

-- wake_state: the counter of a run's wake-ups, and the server's time
SELECT COALESCE(wakes, 0) AS wakes, {now_us} AS now_us, status FROM runs
 WHERE thread_id = :thread AND ordinal = :ordinal
