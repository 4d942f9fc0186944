"""From the error of a server to an exception that the engine understands."""
