"""Live checks of the twelve factors, run against the installed release.

`runner` runs the checks of `registry` concurrently, with real processes of the release and with
temporary databases.
"""
