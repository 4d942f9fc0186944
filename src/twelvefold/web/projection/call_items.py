"""Items of calls that the client answers, and of its answers."""

from twelvefold.web.schemas import ItemStatus, Json


def function_call(
    id: str, call_id: str, name: str, arguments: str, status: ItemStatus = "completed"
) -> Json:
    return {
        "id": id,
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def function_output(id: str, call_id: str, output: str, status: ItemStatus = "completed") -> Json:
    return {
        "id": id,
        "type": "function_call_output",
        "status": status,
        "call_id": call_id,
        "output": output,
    }


def approval_request(id: str, label: str, name: str, arguments: str) -> Json:
    return {
        "id": id,
        "type": "mcp_approval_request",
        "server_label": label,
        "name": name,
        "arguments": arguments,
    }


def approval_response(id: str, request: str, approve: bool, reason: str) -> Json:
    return {
        "id": id,
        "type": "mcp_approval_response",
        "approval_request_id": request,
        "approve": approve,
        "reason": reason or None,
    }
