"""Python's arithmetic on what a model wrote, without running it.

Only the syntax tree is Python's own. Text, numbers and powers are bounded, so that no expression
takes noticeable time or memory.
"""

import ast
import operator
from collections.abc import Callable

Value = int | float | complex
CHARACTERS = frozenset("0123456789+-*/(). ")
MAX_CHARACTERS = 1_000
MAX_BITS = 4_096
"""Four times what a double reaches, so that big numbers may still be divided by big ones."""


class CannotCalculate(Exception):
    """The expression has no value; the message says why, in Python's words where it has any."""


def calculate(expression: str) -> float:
    """The value of + - * / // ** and parentheses, rounded to two places.

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
            # What is left of the grammar: calls as in `2(3)`, and the empty tuple.
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
