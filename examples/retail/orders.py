"""Checks and writes that the tools that change an order share.

Every check raises ToolRefused with the shop's own text. Every tool locks the order first and then
the payment methods: with the opposite order two calls could deadlock.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from examples.retail.records import (
    Line,
    Number,
    Payment,
    PaymentMethod,
    payment_methods_of,
)
from examples.retail.sql import SQL
from twelvefold import ReadOnly, ToolRefused, Transaction

GIFT_CARD = "gift_card"
"""A refund to a payment method whose id contains this is immediate."""


async def take_order(
    tx: Transaction, order_id: str, *, status: str, becomes: str, otherwise: str
) -> str:
    """Change the status of an order, lock it until the commit, and return its user's id.

    The statement contains the condition, so that only one of two concurrent calls succeeds. A
    later refusal rolls it back. Raises ToolRefused, with `otherwise` for another status.
    """
    taken = await tx.execute(SQL["take_order"], order_id=order_id, status=status, becomes=becomes)
    owner = await tx.fetch_one(SQL["owner"], order_id=order_id)
    if owner is None:
        raise ToolRefused("order not found")
    if not taken:
        raise ToolRefused(otherwise)
    return str(owner["user_id"])


def first_excess_item(item_ids: Sequence[str], lines: Sequence[Line]) -> str | None:
    """Return the first id that is requested more often than the order has lines with it."""
    ordered = Counter(line.item_id for line in lines)
    requested = Counter(item_ids)
    return next((item_id for item_id in item_ids if requested[item_id] > ordered[item_id]), None)


async def price_difference(
    db: ReadOnly, lines: Sequence[Line], item_ids: Sequence[str], new_item_ids: Sequence[str]
) -> Number:
    """Return the price difference of the new items, summed in the given order, not rounded."""
    missing = first_excess_item(item_ids, lines)
    if missing is not None:
        raise ToolRefused(f"{missing} not found")
    if len(item_ids) != len(new_item_ids):
        raise ToolRefused("the number of items to be exchanged should match")
    difference: Number = 0
    for item_id, new_item_id in zip(item_ids, new_item_ids, strict=True):
        line = next(line for line in lines if line.item_id == item_id)
        variant = await db.fetch_one(
            SQL["price_if_available"], product_id=line.product_id, item_id=new_item_id
        )
        if variant is None:
            raise ToolRefused(f"new item {new_item_id} not found or available")
        difference += variant["price"] - line.price
    return difference


async def lock_payment_methods(tx: Transaction, user_id: str) -> dict[str, PaymentMethod]:
    """Lock the user's payment methods until the commit and return them."""
    await tx.execute(SQL["lock_payment_methods"], user_id=user_id)
    return await payment_methods_of(tx, user_id)


def find_method(methods: dict[str, PaymentMethod], method_id: str) -> PaymentMethod:
    """Return the user's payment method with this id. Raises ToolRefused."""
    if method_id not in methods:
        raise ToolRefused("payment method not found")
    return methods[method_id]


def covers(method: PaymentMethod, amount: Number) -> bool:
    """Return whether the method can pay the amount: only a gift card has a limit."""
    return not method.is_gift_card or method.balance >= amount


async def change_balance(
    tx: Transaction, user_id: str, method: PaymentMethod, by: Number
) -> PaymentMethod:
    """Add to the balance of a locked gift card, rounded to cents."""
    balance = round(method.balance + by, 2)
    await tx.execute(
        SQL["set_balance"],
        user_id=user_id,
        payment_method_id=method.id,
        balance=balance,
        is_int=isinstance(balance, int),
    )
    return replace(method, balance=balance)


async def add_payments(
    tx: Transaction, order_id: str, new: Sequence[Payment], *, after: Sequence[Payment]
) -> None:
    """Append payments to the order's history, which currently is `after`."""
    for position, payment in enumerate(new, start=len(after)):
        await tx.execute(
            SQL["add_payment"],
            order_id=order_id,
            position=position,
            transaction_type=payment.transaction_type,
            amount=payment.amount,
            is_int=isinstance(payment.amount, int),
            payment_method_id=payment.method_id,
        )


async def swap_lines(
    tx: Transaction,
    order_id: str,
    lines: Sequence[Line],
    item_ids: Sequence[str],
    new_item_ids: Sequence[str],
) -> None:
    """For each pair, replace the item of the first line that currently has it."""
    now = [line.item_id for line in lines]
    for item_id, new_item_id in zip(item_ids, new_item_ids, strict=True):
        position = now.index(item_id)
        now[position] = new_item_id
        at = {"order_id": order_id, "position": lines[position].position}
        await tx.execute(SQL["swap_line"], **at, new_item_id=new_item_id)
        await tx.execute(SQL["drop_options"], **at)
        await tx.execute(SQL["copy_options"], **at, item_id=new_item_id)


async def request_items(
    tx: Transaction, order_id: str, request: str, item_ids: Sequence[str]
) -> None:
    """Insert one of the order's lists of requested items, sorted as text."""
    for position, item_id in enumerate(sorted(item_ids)):
        await tx.execute(
            SQL["request_item"],
            order_id=order_id,
            request=request,
            position=position,
            item_id=item_id,
        )
