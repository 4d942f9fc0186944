"""What the requests of both APIs have in common."""
