"""How fast Twelvefold is, beside loops that keep nothing: `python -m bench`, or `make bench`."""
