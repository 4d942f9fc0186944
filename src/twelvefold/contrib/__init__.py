"""Adapters for other frameworks. Each needs its own extra; nothing else imports them."""
