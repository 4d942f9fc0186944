"""From the bytes of a response to the events, the usage and the limits of a reply."""
