"""What holds for all tests."""

from hypothesis import settings

# A deadline for each example measures the machine: on a busy one, any test may exceed it.
settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")
