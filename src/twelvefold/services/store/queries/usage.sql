-- Usage: sums over runs that ended. A run is counted once: the transaction that adds it to the sums also sets its
-- `counted`. `add_usage_of_day`, `add_usage_of_principal` and `add_usage_detail` are in mysql.sql and sqlite.sql.

-- uncounted_runs: runs that ended and are in no sum, the first to end first
SELECT thread_id, ordinal FROM runs {by_uncounted}
 WHERE counted IS NULL AND finished_at > 0
 ORDER BY finished_at, thread_id, ordinal LIMIT :limit

-- lock_uncounted: those of the runs that no other process has counted. All processes lock rows in the order of
-- the key. Rows of releases before 0005 have the names in their threads
SELECT r.thread_id, r.ordinal, r.status, r.`usage`, r.finished_at,
       COALESCE(r.workflow, (SELECT t.workflow FROM threads t WHERE t.id = r.thread_id)) AS workflow,
       COALESCE(r.principal, (SELECT t.principal FROM threads t WHERE t.id = r.thread_id)) AS principal
  FROM runs r {by_key}
 WHERE (:runs) AND r.counted IS NULL AND r.finished_at > 0
 ORDER BY r.thread_id, r.ordinal {lock}

-- mark_counted: as many rows as `lock_uncounted` has found, unless another node of a cluster was faster
UPDATE runs {by_key} SET counted = 1 WHERE (:runs) AND counted IS NULL AND finished_at > 0

-- starters: those of the threads whose runs have started runs of other workflows
SELECT DISTINCT parent_thread FROM threads {by_parent} WHERE parent_thread IN (:threads)

-- ended_waits: what runs have counted of the usage of runs that they started
SELECT thread_id, run, position, type, version, body, at_us FROM events
 WHERE thread_id IN (:threads) AND type = 'WaitEnded'

-- usage_added: the changes :added of a row that is there
runs = runs + :runs, failed = failed + :failed, input_tokens = input_tokens + :input_tokens,
output_tokens = output_tokens + :output_tokens, cached_tokens = cached_tokens + :cached_tokens,
micro_usd = COALESCE(micro_usd + COALESCE(:micro_usd, 0), :micro_usd)

-- usage_sums: the columns :sums. Sums of doubles are exact up to 2^53, and cost half of what sums of integers do,
-- which MySQL and MariaDB make decimals
SUM(0e0 + runs) AS runs, SUM(0e0 + failed) AS failed,
SUM(0e0 + input_tokens) AS input_tokens, SUM(0e0 + output_tokens) AS output_tokens,
SUM(0e0 + cached_tokens) AS cached_tokens, SUM(0e0 + micro_usd) AS micro_usd

-- usage_of_days: sums by the columns :groups
SELECT :groups, :sums FROM usage_days WHERE day >= :first_day AND day <= :last_day AND :conditions
 GROUP BY :groups ORDER BY :order LIMIT :limit

-- usage_of_principals: as `usage_of_days`, without workflows
SELECT :groups, :sums FROM usage_principals WHERE day >= :first_day AND day <= :last_day AND :conditions
 GROUP BY :groups ORDER BY :order LIMIT :limit

-- usage_details: as `usage_of_days`, of one workflow or of one principal
SELECT :groups, :sums FROM usage_details WHERE day >= :first_day AND day <= :last_day AND :conditions
 GROUP BY :groups ORDER BY :order LIMIT :limit
