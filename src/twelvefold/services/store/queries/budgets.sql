-- Budgets of a deployment, and what was spent of them. `budget_periods` has one row for each budget and
-- period; only one statement of a transaction locks it, the last one.

-- budgets: with the server's time, also of a database without budgets
SELECT {now_us} AS now_us, b.principal, b.key_id, b.workflow, b.time_window, b.policy,
       b.limit_tokens, b.limit_micro_usd
  FROM (SELECT 1 AS one) base LEFT JOIN budgets b ON 1 = 1
 ORDER BY b.principal, b.key_id, b.workflow, b.time_window

-- change_budget: 0 rows mean that it does not exist
UPDATE budgets SET limit_tokens = :tokens, limit_micro_usd = :micro_usd, policy = :policy,
       updated_at = {now_us}
 WHERE id = :id

-- insert_budget: a duplicate means that another process has just added it
INSERT INTO budgets (id, principal, key_id, workflow, time_window, policy, limit_tokens,
                     limit_micro_usd, created_at, updated_at)
VALUES (:id, :principal, :key_id, :workflow, :window, :policy, :tokens, :micro_usd,
        {now_us}, {now_us})

-- delete_budget: 0 rows mean that it does not exist
DELETE FROM budgets WHERE id = :id

-- waiting_until: runs that wait for the time at which a budget renews
SELECT thread_id, ordinal FROM runs {by_due}
 WHERE status = 'waiting' AND wake_at = :wake_at LIMIT :limit

-- wake_now: lets a run look again; 0 rows mean that it does not wait any more
UPDATE runs SET wake_at = {now_us}
 WHERE thread_id = :thread AND ordinal = :ordinal AND status = 'waiting' AND wake_at = :wake_at

-- budget_used: what a period has been charged; 0 rows mean nothing
SELECT budget_id, began_at, spent_tokens, spent_micro_usd, reserved_tokens, reserved_micro_usd
  FROM budget_periods WHERE budget_id IN (:budgets) AND began_at IN (:began)

-- insert_reservation: a duplicate means that this call was reserved before
INSERT INTO budget_reservations (thread_id, ordinal, position, attempt, budget_id, began_at, tokens,
                                 micro_usd, created_at)
VALUES (:thread, :ordinal, :position, :attempt, :budget, :began, :tokens, :micro_usd, {now_us})

-- reserve_of_period: 0 rows mean that the period has no row yet, or no room
UPDATE budget_periods SET reserved_tokens = reserved_tokens + :tokens,
       reserved_micro_usd = reserved_micro_usd + :micro_usd
 WHERE budget_id = :budget AND began_at = :began
   AND (:limit_tokens IS NULL OR spent_tokens + reserved_tokens + :tokens <= :limit_tokens)
   AND (:limit_micro_usd IS NULL
        OR spent_micro_usd + reserved_micro_usd + :micro_usd <= :limit_micro_usd)

-- insert_period: a duplicate means that another process has just added it
INSERT INTO budget_periods (budget_id, began_at, spent_tokens, spent_micro_usd, reserved_tokens,
                            reserved_micro_usd)
VALUES (:budget, :began, 0, 0, 0, 0)

-- delete_reservation: 0 rows mean that the call was settled before
DELETE FROM budget_reservations
 WHERE thread_id = :thread AND ordinal = :ordinal AND position = :position AND attempt = :attempt
   AND budget_id = :budget

-- settle_of_period: replaces what was reserved by what was spent
UPDATE budget_periods SET reserved_tokens = reserved_tokens - :tokens,
       reserved_micro_usd = reserved_micro_usd - :micro_usd,
       spent_tokens = spent_tokens + :spent_tokens,
       spent_micro_usd = spent_micro_usd + :spent_micro_usd
 WHERE budget_id = :budget AND began_at = :began

-- reservations: those of a run that are not settled
SELECT thread_id, ordinal, position, attempt, budget_id, began_at, tokens, micro_usd
  FROM budget_reservations
 WHERE thread_id = :thread AND ordinal = :ordinal

-- lost_reservations: of runs that are over, whose process has not settled them
SELECT b.thread_id, b.ordinal, b.position, b.attempt, b.budget_id, b.began_at, b.tokens, b.micro_usd
  FROM budget_reservations b
  {straight_join} runs r ON r.thread_id = b.thread_id AND r.ordinal = b.ordinal
 WHERE r.finished_at IS NOT NULL LIMIT :limit

-- delete_old_reservations: of periods that ended: a month is at most 31 days long
DELETE FROM budget_reservations WHERE began_at < :before_us - 2678400000000 {at_most}

-- delete_old_periods: those that ended
DELETE FROM budget_periods WHERE began_at < :before_us - 2678400000000 {at_most}
