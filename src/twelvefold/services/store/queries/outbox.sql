-- The outbox: what leaves after the commit.

-- insert_outbox: a message that leaves after the commit
INSERT INTO outbox (id, thread_id, kind, body, attempts, due_at, sent_at)
VALUES (:id, :thread, :kind, :body, 0, {now_us}, NULL)

-- due_letters: oldest first; those of a kind that this release does not know wait for one that does
SELECT id, thread_id, kind, body, attempts, due_at, sent_at, dead_at, error FROM outbox
 WHERE sent_at IS NULL AND dead_at IS NULL AND due_at <= {now_us} AND kind = 'mail'
 ORDER BY due_at, id LIMIT :limit

-- claim_letter: 0 rows mean that somebody else has it, or had it; without an error it is in hand
UPDATE outbox SET attempts = :attempts + 1, due_at = {now_us} + :held_us, error = NULL
 WHERE id = :id AND attempts = :attempts AND sent_at IS NULL AND dead_at IS NULL
   AND due_at <= {now_us}

-- renew_letter: 0 rows mean that it was sent, has failed or is another sender's; each claim counts an
-- attempt, and so the number tells whose claim it is
UPDATE outbox SET due_at = {now_us} + :held_us
 WHERE id = :id AND attempts = :attempts + 1 AND error IS NULL AND sent_at IS NULL AND dead_at IS NULL

-- letter_sent: a mail has left, whoever has claimed it by now; 0 rows mean that there is no such letter
UPDATE outbox SET sent_at = {now_us}, dead_at = NULL, error = NULL WHERE id = :id

-- letter_failed: 0 rows mean that it was sent, or that somebody else is trying it by now
UPDATE outbox SET error = :error, due_at = {now_us} + :pause_us,
       dead_at = CASE WHEN :dead THEN {now_us} ELSE NULL END
 WHERE id = :id AND attempts <= :attempts + 1 AND sent_at IS NULL

-- letters: newest first, in order of when they were or will be tried; each part reads the index
-- outbox_waiting backwards, so that the rest is not looked at however much there is of it
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
 ORDER BY due_at DESC, id DESC LIMIT :limit

-- dead_letters: what nobody tries again unless told
SELECT id FROM outbox WHERE sent_at IS NULL AND dead_at IS NOT NULL ORDER BY dead_at

-- letter: 0 rows mean that there is none
SELECT sent_at FROM outbox WHERE id = :id

-- retry_letter: 0 rows mean that it was sent, is in hand, or that there is none; one that is dead
-- begins anew
UPDATE outbox SET attempts = CASE WHEN dead_at IS NULL THEN attempts ELSE 0 END,
       due_at = {now_us}, dead_at = NULL
 WHERE id = :id AND sent_at IS NULL
   AND (dead_at IS NOT NULL OR error IS NOT NULL OR due_at <= {now_us})
