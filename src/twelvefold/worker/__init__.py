"""The worker process: it drives runs from the queue, and sends mail from the outbox."""
