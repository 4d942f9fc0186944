-- API keys. `valid` is 1, or NULL after the key was revoked. NULLs are no duplicates of each other, so a
-- name belongs to one valid key and is free again when that key is revoked.

-- insert_key: a duplicate means that the name is taken
INSERT INTO api_keys
       (id, name, principal, scopes, sha256, created_at, valid, revoked_at, expires_at, workflows, tools,
        rate_per_minute, max_runs, priority)
VALUES (:id, :name, :principal, :scopes, :sha256, :created_at, 1, NULL, :expires_at, :workflows, :tools,
        :rate_per_minute, :max_runs, :priority)

-- keys: newest first, those after a key; revoked ones too
SELECT id, name, principal, scopes, sha256, created_at, revoked_at, expires_at, last_used_at, old_sha256,
       old_until, workflows, tools, rate_per_minute, max_runs, priority
  FROM api_keys
 WHERE created_at <= :created_at AND NOT (created_at = :created_at AND id >= :id)
 ORDER BY created_at DESC, id DESC LIMIT :limit

-- any_key: 0 rows mean that there is none
SELECT id FROM api_keys LIMIT 1

-- named_key: by its name or its id; 0 rows mean that none that is not revoked has it
SELECT id, name, principal, scopes, sha256, created_at, revoked_at, expires_at, last_used_at, old_sha256,
       old_until, workflows, tools, rate_per_minute, max_runs, priority
  FROM api_keys WHERE name = :name AND valid = 1
UNION ALL
SELECT id, name, principal, scopes, sha256, created_at, revoked_at, expires_at, last_used_at, old_sha256,
       old_until, workflows, tools, rate_per_minute, max_runs, priority
  FROM api_keys WHERE id = :id AND valid = 1

-- key: 0 rows mean that it does not exist
SELECT id, created_at, max_runs FROM api_keys WHERE id = :id

-- find_key: 0 rows mean that it does not exist or was revoked. The hash may be that of the secret before the
-- last rotation
SELECT id, name, principal, scopes, sha256, created_at, revoked_at, expires_at, last_used_at, old_sha256,
       old_until, workflows, tools, rate_per_minute, max_runs, priority, {now_us} AS now_us
  FROM api_keys WHERE sha256 = :sha256 AND valid = 1
UNION ALL
SELECT id, name, principal, scopes, sha256, created_at, revoked_at, expires_at, last_used_at, old_sha256,
       old_until, workflows, tools, rate_per_minute, max_runs, priority, {now_us} AS now_us
  FROM api_keys WHERE old_sha256 = :sha256 AND valid = 1

-- rotate_key: 0 rows mean that it does not exist or was revoked. MySQL assigns from left to right, so the
-- old hash is copied first
UPDATE api_keys
   SET old_sha256 = sha256, old_until = {now_us} + :overlap_us, sha256 = :sha256, expires_at = :expires_at
 WHERE id = :id AND valid = 1

-- limit_key: 0 rows mean that it does not exist or was revoked
UPDATE api_keys SET rate_per_minute = :rate_per_minute, max_runs = :max_runs, priority = :priority
 WHERE id = :id AND valid = 1

-- touch_key: 0 rows mean that it does not exist
UPDATE api_keys SET last_used_at = {now_us} WHERE id = :id

-- revoke_key: 0 rows mean that it does not exist or was revoked already
UPDATE api_keys SET revoked_at = {now_us}, valid = NULL WHERE id = :id AND valid = 1
