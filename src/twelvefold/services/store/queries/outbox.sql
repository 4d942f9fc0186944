-- The outbox: messages that are sent after the commit.

-- insert_outbox: one message; it becomes visible with the step's commit
INSERT INTO outbox (id, thread_id, kind, body, attempts, due_at, sent_at)
VALUES (:id, :thread, :kind, :body, 0, {now_us}, NULL)

-- due_messages: oldest first; kinds that this release does not know are left to a newer one
SELECT id, thread_id, kind, body, attempts, due_at, sent_at, dead_at, error FROM outbox
 WHERE sent_at IS NULL AND dead_at IS NULL AND due_at <= {now_us} AND kind = 'mail'
 ORDER BY due_at, id LIMIT :limit

-- claim_message: 0 rows mean that another sender claims or has claimed it. A claim clears the error
UPDATE outbox SET attempts = :attempts + 1, due_at = {now_us} + :claimed_us, error = NULL
 WHERE id = :id AND attempts = :attempts AND sent_at IS NULL AND dead_at IS NULL
   AND due_at <= {now_us}

-- renew_message: 0 rows mean that it was sent, has failed or has another claim. Each claim counts an
-- attempt, so the number of attempts identifies the claim
UPDATE outbox SET due_at = {now_us} + :claimed_us
 WHERE id = :id AND attempts = :attempts + 1 AND error IS NULL AND sent_at IS NULL AND dead_at IS NULL

-- message_sent: applies also if another sender has claimed it since; 0 rows mean that it does not exist
UPDATE outbox SET sent_at = {now_us}, dead_at = NULL, error = NULL WHERE id = :id

-- message_failed: 0 rows mean that it was sent, or that another sender has claimed it since
UPDATE outbox SET error = :error, due_at = {now_us} + :pause_us,
       dead_at = CASE WHEN :dead THEN {now_us} ELSE NULL END
 WHERE id = :id AND attempts <= :attempts + 1 AND sent_at IS NULL

-- messages: by the time of the last or next attempt, newest first. Each part reads at most :limit rows of
-- the index outbox_waiting, backwards, however large the table is
SELECT m.*, t.deleted_at AS thread_deleted_at FROM (
  SELECT * FROM (
    SELECT id, thread_id, kind, body, attempts, due_at, sent_at, dead_at, error
      FROM outbox
     WHERE :state IN ('', 'waiting') AND sent_at IS NULL AND dead_at IS NULL
     ORDER BY due_at DESC, id DESC LIMIT :limit) waiting
  UNION ALL
  SELECT * FROM (
    SELECT id, thread_id, kind, body, attempts, due_at, sent_at, dead_at, error
      FROM outbox
     WHERE :state IN ('', 'sent') AND sent_at IS NOT NULL
     ORDER BY sent_at DESC, dead_at DESC, due_at DESC, id DESC LIMIT :limit) sent
  UNION ALL
  SELECT * FROM (
    SELECT id, thread_id, kind, body, attempts, due_at, sent_at, dead_at, error
      FROM outbox
     WHERE :state IN ('', 'dead') AND sent_at IS NULL AND dead_at IS NOT NULL
     ORDER BY dead_at DESC, due_at DESC, id DESC LIMIT :limit) dead
) m LEFT JOIN threads t ON t.id = m.thread_id
 ORDER BY m.due_at DESC, m.id DESC LIMIT :limit

-- dead_messages: oldest first
SELECT id FROM outbox WHERE sent_at IS NULL AND dead_at IS NOT NULL ORDER BY dead_at

-- message: 0 rows mean that it does not exist
SELECT sent_at FROM outbox WHERE id = :id

-- retry_message: 0 rows mean that it was sent, is being sent or does not exist; a dead message gets all
-- its attempts again
UPDATE outbox SET attempts = CASE WHEN dead_at IS NULL THEN attempts ELSE 0 END,
       due_at = {now_us}, dead_at = NULL
 WHERE id = :id AND sent_at IS NULL
   AND (dead_at IS NOT NULL OR error IS NOT NULL OR due_at <= {now_us})

-- outbox_counts: how many messages are due, deferred and dead, each counted up to :limit, and for how long the
-- oldest has been
SELECT 'due' AS state, COUNT(*) AS messages, {now_us} - MIN(due_at) AS age_us
  FROM (SELECT due_at FROM outbox WHERE sent_at IS NULL AND dead_at IS NULL AND due_at <= {now_us}
         ORDER BY due_at LIMIT :limit) due
UNION ALL
SELECT 'deferred' AS state, COUNT(*) AS messages, 0 AS age_us
  FROM (SELECT due_at FROM outbox WHERE sent_at IS NULL AND dead_at IS NULL AND due_at > {now_us}
         LIMIT :limit) deferred
UNION ALL
SELECT 'dead' AS state, COUNT(*) AS messages, {now_us} - MIN(dead_at) AS age_us
  FROM (SELECT dead_at FROM outbox WHERE sent_at IS NULL AND dead_at IS NOT NULL
         ORDER BY dead_at LIMIT :limit) dead
