-- Questions of tools that wait for a person's answer. A row is added with the entry that asks, and removed with
-- the one that ends the wait or the run. Releases before 0012 do neither, so the lists leave out questions whose
-- wait has ended by the journal. The body of an entry begins with its call, up to the first comma.

-- open_questions: those of a person after a place in the list, newest first. The journal is searched only if it
-- has entries after the one that asks
SELECT q.thread_id, q.ordinal, q.call_id, q.person, q.workflow, q.asked_at, e.type, e.version, e.body
  FROM open_questions q {by_person}
  {straight_join} runs r ON r.thread_id = q.thread_id AND r.ordinal = q.ordinal
  {straight_join} events e ON e.thread_id = q.thread_id AND e.position = q.position
  {straight_join} threads t ON t.id = q.thread_id
 WHERE q.person = :person AND q.asked_at <= :at
   AND NOT (q.asked_at = :at AND (q.thread_id > :thread OR (q.thread_id = :thread AND q.call_id >= :call)))
   AND (q.expires_at = 0 OR q.expires_at > {now_us})
   AND r.finished_at IS NULL AND r.cancel_asked = 0 AND t.deleted_at IS NULL
   AND (t.head = q.position OR NOT EXISTS (
        SELECT 1 FROM events w
         WHERE w.thread_id = q.thread_id AND w.position > q.position AND w.type = 'WaitEnded'
           AND SUBSTR(w.body, 1, INSTR(e.body, ',')) = SUBSTR(e.body, 1, INSTR(e.body, ','))))
 ORDER BY q.asked_at DESC, q.thread_id DESC, q.call_id DESC LIMIT :limit

-- open_questions_upwards: as `open_questions`, oldest first
SELECT q.thread_id, q.ordinal, q.call_id, q.person, q.workflow, q.asked_at, e.type, e.version, e.body
  FROM open_questions q {by_person}
  {straight_join} runs r ON r.thread_id = q.thread_id AND r.ordinal = q.ordinal
  {straight_join} events e ON e.thread_id = q.thread_id AND e.position = q.position
  {straight_join} threads t ON t.id = q.thread_id
 WHERE q.person = :person AND q.asked_at >= :at
   AND NOT (q.asked_at = :at AND (q.thread_id < :thread OR (q.thread_id = :thread AND q.call_id <= :call)))
   AND (q.expires_at = 0 OR q.expires_at > {now_us})
   AND r.finished_at IS NULL AND r.cancel_asked = 0 AND t.deleted_at IS NULL
   AND (t.head = q.position OR NOT EXISTS (
        SELECT 1 FROM events w
         WHERE w.thread_id = q.thread_id AND w.position > q.position AND w.type = 'WaitEnded'
           AND SUBSTR(w.body, 1, INSTR(e.body, ',')) = SUBSTR(e.body, 1, INSTR(e.body, ','))))
 ORDER BY q.asked_at, q.thread_id, q.call_id LIMIT :limit

-- asked_question: the entry of a question, also of one that was answered; 0 rows mean that there is none
SELECT e.type, e.version, e.body, e.at_us, t.principal
  FROM events e JOIN threads t ON t.id = e.thread_id
 WHERE e.thread_id = :thread AND e.position > :reply AND e.type = 'WaitStarted' AND e.body LIKE :prefix
 ORDER BY e.position LIMIT 1

-- add_question: a run waits for the person's answer
INSERT INTO open_questions (thread_id, call_id, ordinal, position, person, workflow, asked_at, expires_at)
VALUES (:thread, :call, :ordinal, :position, :person, :workflow, :asked_at, :expires_at)

-- remove_question: its wait has ended; 0 rows mean that an older release has asked it
DELETE FROM open_questions WHERE thread_id = :thread AND call_id = :call

-- remove_questions_of_run: the run has ended without an answer
DELETE FROM open_questions WHERE thread_id = :thread AND ordinal = :ordinal

-- remove_questions_of_thread: the thread was deleted
DELETE FROM open_questions WHERE thread_id = :thread

-- unlisted_questions: questions of runs in progress without a row, which older releases have asked
SELECT e.thread_id, e.run, e.position, e.type, e.version, e.body, e.at_us, t.workflow, t.principal
  FROM runs r {by_status} {straight_join} threads t ON t.id = r.thread_id
  {straight_join} events e ON e.thread_id = r.thread_id AND e.run = r.ordinal
 WHERE r.status = :status AND e.type = 'WaitStarted' AND e.body LIKE '%"question":"%'
   AND NOT EXISTS (SELECT 1 FROM open_questions q
                    WHERE q.thread_id = e.thread_id AND q.position = e.position)
   AND NOT EXISTS (SELECT 1 FROM events w
                    WHERE w.thread_id = e.thread_id AND w.position > e.position AND w.type = 'WaitEnded'
                      AND SUBSTR(w.body, 1, INSTR(e.body, ',')) = SUBSTR(e.body, 1, INSTR(e.body, ',')))
 LIMIT :limit

-- delete_old_questions: rows of runs that an older release has ended
DELETE FROM open_questions
 WHERE NOT EXISTS (SELECT 1 FROM runs r
                    WHERE r.thread_id = open_questions.thread_id AND r.ordinal = open_questions.ordinal
                      AND r.finished_at IS NULL) {at_most}
