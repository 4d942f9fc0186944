-- Usage: sums over runs that ended. A run is counted once: the transaction that adds it to the sums also sets its
-- `counted`. `add_usage_of_day` and `add_usage_of_principal` are in mysql.sql and sqlite.sql.

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
SELECT DISTINCT parent_thread FROM threads WHERE parent_thread IN (:threads)

-- ended_waits: what runs have counted of the usage of runs that they started
SELECT thread_id, run, position, type, version, body, at_us FROM events
 WHERE thread_id IN (:threads) AND type = 'WaitEnded'

-- usage_by_day: sums by the columns :groups
SELECT :groups, SUM(runs) AS runs, SUM(failed) AS failed, SUM(input_tokens) AS input_tokens,
       SUM(output_tokens) AS output_tokens, SUM(cached_tokens) AS cached_tokens,
       SUM(micro_usd) AS micro_usd
  FROM usage_days WHERE day >= :first_day AND day <= :last_day AND :conditions
 GROUP BY :groups ORDER BY :order LIMIT :limit

-- usage_by_principal: as `usage_by_day`, of principals
SELECT :groups, SUM(runs) AS runs, SUM(failed) AS failed, SUM(input_tokens) AS input_tokens,
       SUM(output_tokens) AS output_tokens, SUM(cached_tokens) AS cached_tokens,
       SUM(micro_usd) AS micro_usd
  FROM usage_principals WHERE day >= :first_day AND day <= :last_day AND :conditions
 GROUP BY :groups ORDER BY :order LIMIT :limit
