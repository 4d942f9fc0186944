"""The process that nobody waits for: it drives runs from the table, and sends mail."""
