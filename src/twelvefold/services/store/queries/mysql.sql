-- Statements whose form in MySQL and MariaDB differs.

-- version_table: 0 rows mean that no migration has run
SELECT table_name AS name FROM information_schema.tables
 WHERE table_schema = DATABASE() AND table_name = 'twelvefold_version'
