-- API keys. `valid` is 1, or NULL for one that was revoked: NULLs are no duplicates of each other, so
-- a name is one key's own and is free again once that is revoked.

-- insert_key: a duplicate means that the name is taken
INSERT INTO api_keys (id, name, principal, scopes, sha256, created_at, valid, revoked_at)
VALUES (:id, :name, :principal, :scopes, :sha256, :created_at, 1, NULL)

-- keys: oldest first
SELECT id, name, principal, scopes, sha256, created_at, revoked_at
  FROM api_keys ORDER BY created_at, id

-- key: 0 rows mean that there is none
SELECT id FROM api_keys WHERE id = :id

-- find_key: 0 rows mean that there is none, or that it was revoked
SELECT id, name, principal, scopes, sha256, created_at, revoked_at
  FROM api_keys WHERE sha256 = :sha256 AND valid = 1

-- revoke_key: 0 rows mean that there is none, or that it was revoked before
UPDATE api_keys SET revoked_at = {now_us}, valid = NULL WHERE id = :id AND valid = 1
