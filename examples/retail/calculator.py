"""Evaluates arithmetic expressions of a model without executing them.

Only the parser is Python's. The length of the text, numbers and powers are limited, so that no
expression takes noticeable time or memory.
"""

import ast
import operator
from collections.abc import Callable

Value = int | float | complex
CHARACTERS = frozenset("0123456789+-*/(). ")
MAX_CHARACTERS = 1_000
MAX_BITS = 4_096
"""Four times the range of a double, so that large numbers can be divided by large numbers."""


class CannotCalculate(Exception):
    """The expression has no value. The message is Python's if there is one."""


def calculate(expression: str) -> float:
    """Evaluate + - * / // ** and parentheses, rounded to two decimal places.

    Raises CannotCalculate.
    """
    if not CHARACTERS.issuperset(expression):
        raise CannotCalculate("invalid characters in expression")
    if len(expression) > MAX_CHARACTERS:
        raise CannotCalculate(f"expression is longer than {MAX_CHARACTERS} characters")
    try:
        tree = ast.parse(expression.lstrip(), "<string>", mode="eval")
        return round(float(_value(tree.body)), 2)  # type: ignore[arg-type]  # complex: TypeError
    except (SyntaxError, ArithmeticError, TypeError, RecursionError, MemoryError) as error:
        raise CannotCalculate(str(error)) from error


def _value(node: ast.expr) -> Value:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _OPERATIONS:
            return _OPERATIONS[type(operation)](_value(left), _value(right))
        case _:
            # The remaining grammar: calls such as `2(3)`, and the empty tuple.
            raise SyntaxError("invalid syntax (<string>, line 1)")


def _power(base: Value, exponent: Value) -> Value:
    if (
        isinstance(base, int)
        and isinstance(exponent, int)
        and base.bit_length() * exponent > MAX_BITS
    ):
        raise OverflowError("int too large to convert to float")
    return base**exponent


_OPERATIONS: dict[type[ast.operator], Callable[..., Value]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: _power,
}
