-- The ledger of the releases that were put in place. Nothing here changes a row or removes one.

-- releases: the last first
SELECT number, release_id, version, commit_id, level, serves, at_us
  FROM twelvefold_releases ORDER BY number DESC LIMIT :limit

-- insert_release: a duplicate means that another process was quicker
INSERT INTO twelvefold_releases (number, release_id, version, commit_id, level, serves, at_us)
VALUES (:number, :release, :version, :commit, :level, :serves, {now_us})

-- level: which migration was applied last
SELECT version_num FROM twelvefold_version

-- serves: NULL means that no release has been put in place there yet
SELECT MAX(serves) AS serves FROM twelvefold_releases WHERE level = :level
