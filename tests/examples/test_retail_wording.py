"""The texts of the retail shop for the model: tools, errors and calculations."""

import json

import pytest

from examples.retail.calculator import CannotCalculate, calculate
from examples.retail.load import taubench
from twelvefold.core.gates import validate_call
from twelvefold.core.ids import CallId
from twelvefold.core.thread import Call, Thread
from twelvefold.core.workflow import RejectedCall

if not taubench().is_dir():
    pytest.skip(f"no τ-bench data in {taubench()}", allow_module_level=True)

from examples.retail.workflow import workflow


def test_the_tools_are_those_of_the_benchmark() -> None:
    published = json.loads((taubench() / "retail" / "tools.json").read_text(encoding="utf-8"))

    ours = []
    for tool in workflow.tools:
        parameters = {k: v for k, v in tool.spec.parameters.items() if k != "additionalProperties"}
        # The docstrings are wrapped.
        description = " ".join(tool.description.split())
        ours.append({"name": tool.name, "description": description, "parameters": parameters})

    assert ours == [one["function"] for one in published]


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        ("get_input_from_user", "{}", "Unknown action get_input_from_user"),
        (
            "modify_pending_order_items",
            '{"order_id": "1", "item_ids": [], "new_item_ids": []}',
            "Error: ModifyPendingOrderItems.invoke() missing 1 required positional argument: "
            "'payment_method_id'",
        ),
        (
            "find_user_id_by_name_zip",
            '{"zip": "1"}',
            "Error: FindUserIdByNameZip.invoke() missing 2 required positional arguments: "
            "'first_name' and 'last_name'",
        ),
        (
            "return_delivered_order_items",
            "{}",
            "Error: ReturnDeliveredOrderItems.invoke() missing 3 required positional arguments: "
            "'order_id', 'item_ids', and 'payment_method_id'",
        ),
        (
            "think",
            '{"thoughts": "hm"}',
            "Error: Think.invoke() got an unexpected keyword argument 'thoughts'",
        ),
        ("think", '{"thought": 1}', "Error: thought: Input should be a valid string"),
        ("think", "[]", "Error: arguments: Input should be an object"),
    ],
)
def test_an_invalid_call_has_pythons_error_text(tool: str, arguments: str, text: str) -> None:
    bad = validate_call(Thread(), workflow, Call(CallId("1.0"), tool, arguments, "call_1"))

    assert isinstance(bad, RejectedCall)
    assert workflow.explain(bad) == text


def test_invalid_json_arguments_are_reported() -> None:
    bad = validate_call(Thread(), workflow, Call(CallId("1.0"), "think", "{thought", "call_1"))

    assert isinstance(bad, RejectedCall)
    assert workflow.explain(bad).startswith("Error: arguments: Invalid JSON")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 2", "4.0"),
        (" (195.11 - 180.93) * 2", "28.36"),
        ("-7 // 2", "-4.0"),
        ("2 ** 3 ** 2", "512.0"),
        ("2.675", "2.67"),
        ("10**400 / 10**399", "10.0"),
        ("2**-1", "0.5"),
    ],
)
def test_an_expression_has_pythons_value(expression: str, value: str) -> None:
    assert str(calculate(expression)) == value


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("2 + x", "invalid characters in expression"),
        ("1e5", "invalid characters in expression"),
        ("1 / 0", "division by zero"),
        ("1 +", "invalid syntax (<string>, line 1)"),
        ("(1", "'(' was never closed (<string>, line 1)"),
        ("2(3)", "invalid syntax (<string>, line 1)"),
        ("()", "invalid syntax (<string>, line 1)"),
        ("", "invalid syntax (<string>, line 0)"),
        ("9**9**9**9", "int too large to convert to float"),
        ("1" * 400, "int too large to convert to float"),
        ("1" * 1001, "expression is longer than 1000 characters"),
    ],
)
def test_an_expression_without_a_value_has_pythons_error_text(expression: str, why: str) -> None:
    with pytest.raises(CannotCalculate) as refused:
        calculate(expression)

    assert str(refused.value) == why
