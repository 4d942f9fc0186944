-- Statements whose form in SQLite differs.

-- version_table: 0 rows mean that no migration has run
SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'twelvefold_version'
