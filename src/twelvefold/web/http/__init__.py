"""The HTTP front: connections, framing of requests, authentication limits and memory budgets."""
