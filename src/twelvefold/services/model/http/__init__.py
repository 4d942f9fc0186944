"""The way to a model's server: where it is, through which proxy, and why it cannot be reached."""
