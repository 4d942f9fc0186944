"""Performs tool calls: what a call may touch follows from its effect."""

from twelvefold.engine.perform.call import FAULT, RollbackTool, failed_call, run_call, run_in_step
from twelvefold.engine.perform.group import run_group

__all__ = ["FAULT", "RollbackTool", "failed_call", "run_call", "run_group", "run_in_step"]
