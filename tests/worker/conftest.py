"""The engine's stage for the worker's stories."""

from tests.engine.conftest import short_pauses, stage, template

__all__ = ["short_pauses", "stage", "template"]
