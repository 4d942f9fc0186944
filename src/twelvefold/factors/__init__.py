"""Live checks of the twelve factors: what is claimed of the running release, tried on it.

`prove` runs the checks of `registry` side by side, each on real processes of the release, in
databases of its own that are dropped at the end.
"""
