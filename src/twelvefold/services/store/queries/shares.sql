-- Shares of API keys and principals: buckets of requests, and slots of runs.
--
-- A bucket is one time: when it is full. It has a token less for each interval until then. A slot is taken
-- while its run is driven, so that the end of the run frees it without a statement; before the run is
-- claimed, until `taken_until`.

-- take_tokens: 0 rows mean that the bucket has fewer tokens, or no row yet
UPDATE rate_buckets
   SET full_at = CASE WHEN full_at < {now_us} THEN {now_us} ELSE full_at END + :cost_us
 WHERE owner = :owner AND full_at <= {now_us} + :capacity_us - :cost_us

-- rate_bucket: how long until the bucket is full; 0 rows mean that there is none
SELECT full_at - {now_us} AS full_in_us FROM rate_buckets WHERE owner = :owner

-- insert_bucket: a full bucket; a duplicate means that another process was faster
INSERT INTO rate_buckets (owner, full_at) VALUES (:owner, 0)

-- return_tokens: adds tokens that were not used
UPDATE rate_buckets SET full_at = full_at - :cost_us WHERE owner = :owner

-- run_slots: the slots of an owner that were taken before, and whether each is taken now
SELECT s.number, s.token, s.thread_id, s.ordinal,
       CASE WHEN s.taken_until > {now_us} OR (r.status = 'running' AND r.lease_until > {now_us})
            THEN 1 ELSE 0 END AS taken
  FROM run_slots s LEFT JOIN runs r ON r.thread_id = s.thread_id AND r.ordinal = s.ordinal
 WHERE s.owner = :owner

-- insert_slot: a duplicate means that another process has taken it
INSERT INTO run_slots (owner, number, token, thread_id, ordinal, taken_until)
VALUES (:owner, :number, :token, :thread, :ordinal, {now_us} + :claim_us)

-- retake_slot: 0 rows mean that another process has taken it
UPDATE run_slots
   SET token = :token, thread_id = :thread, ordinal = :ordinal, taken_until = {now_us} + :claim_us
 WHERE owner = :owner AND number = :number AND token = :old_token

-- fill_slot: names the run that a slot was taken for
UPDATE run_slots SET thread_id = :thread, ordinal = :ordinal, taken_until = 0
 WHERE owner = :owner AND token = :token

-- free_slot: after a claim that failed
UPDATE run_slots SET taken_until = 0, thread_id = '', ordinal = 0 WHERE owner = :owner AND token = :token
