-- API keys. `valid` is 1, or NULL after the key was revoked. NULLs are no duplicates of each other, so a
-- name belongs to one valid key and is free again when that key is revoked.

-- insert_key: a duplicate means that the name is taken
INSERT INTO api_keys (id, name, principal, scopes, sha256, created_at, valid, revoked_at)
VALUES (:id, :name, :principal, :scopes, :sha256, :created_at, 1, NULL)

-- keys: oldest first
SELECT id, name, principal, scopes, sha256, created_at, revoked_at
  FROM api_keys ORDER BY created_at, id

-- key: 0 rows mean that it does not exist
SELECT id FROM api_keys WHERE id = :id

-- find_key: 0 rows mean that it does not exist or was revoked
SELECT id, name, principal, scopes, sha256, created_at, revoked_at
  FROM api_keys WHERE sha256 = :sha256 AND valid = 1

-- revoke_key: 0 rows mean that it does not exist or was revoked already
UPDATE api_keys SET revoked_at = {now_us}, valid = NULL WHERE id = :id AND valid = 1
