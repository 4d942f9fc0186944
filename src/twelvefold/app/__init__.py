"""Workflows in a program of your own: `App`, and `SyncApp` for code that does not await.

The commands, the service and Celery tasks are built on the same parts.
"""
