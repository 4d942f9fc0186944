-- The ledger of the deployed releases. No statement changes or deletes a row.

-- releases: newest first
SELECT number, release_id, version, commit_id, level, serves, at_us
  FROM twelvefold_releases ORDER BY number DESC LIMIT :limit

-- insert_release: a duplicate means that another process recorded a release first
INSERT INTO twelvefold_releases (number, release_id, version, commit_id, level, serves, at_us)
VALUES (:number, :release, :version, :commit, :level, :serves, {now_us})

-- level: the last migration that was applied
SELECT version_num FROM twelvefold_version

-- serves: NULL means that no release was recorded at this level
SELECT MAX(serves) AS serves FROM twelvefold_releases WHERE level = :level
