"""Performs tool calls: what a call may touch follows from its effect. Also calls instructions."""

from twelvefold.engine.perform.call import (
    FAULT,
    FanOutCall,
    RollbackTool,
    failed_call,
    model_text,
    run_call,
    run_in_step,
    run_transactional,
)
from twelvefold.engine.perform.group import run_group
from twelvefold.engine.perform.instructions import InstructionsFailed, resolve_instructions

__all__ = [
    "FAULT",
    "FanOutCall",
    "InstructionsFailed",
    "RollbackTool",
    "failed_call",
    "model_text",
    "resolve_instructions",
    "run_call",
    "run_group",
    "run_in_step",
    "run_transactional",
]
