"""Types of the API that requests and responses share."""

from typing import Any, Literal

Json = dict[str, Any]
ToolItems = Literal["mcp_call", "function", "hidden"]
ToolOutputs = Literal["full", "summary", "none"]
ItemStatus = Literal["in_progress", "completed", "incomplete", "failed"]
