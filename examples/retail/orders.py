"""What the tools that change an order have in common: its checks and its writes.

Every check raises ToolRefused with the shop's own text. The order is held first, then the payment
methods, always: taken the other way round two calls could deadlock.
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
"""Money goes back at once to a payment method whose id contains this."""


async def take_order(
    tx: Transaction, order_id: str, *, status: str, becomes: str, otherwise: str
) -> str:
    """Move an order on, hold it until the commit, and return its user's id.

    The statement carries the condition, so of two calls at once only one goes on; a later refusal
    rolls it back. Raises ToolRefused, with `otherwise` if the order is in another status.
    """
    taken = await tx.execute(SQL["take_order"], order_id=order_id, status=status, becomes=becomes)
    owner = await tx.fetch_one(SQL["owner"], order_id=order_id)
    if owner is None:
        raise ToolRefused("order not found")
    if not taken:
        raise ToolRefused(otherwise)
    return str(owner["user_id"])


def first_too_many(item_ids: Sequence[str], lines: Sequence[Line]) -> str | None:
    """The first id that is asked for more often than the order has lines of it."""
    ordered = Counter(line.item_id for line in lines)
    asked = Counter(item_ids)
    return next((item_id for item_id in item_ids if asked[item_id] > ordered[item_id]), None)


async def price_difference(
    db: ReadOnly, lines: Sequence[Line], item_ids: Sequence[str], new_item_ids: Sequence[str]
) -> Number:
    """What the new items cost more than the old, added up in the order given and not rounded."""
    missing = first_too_many(item_ids, lines)
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


async def held_payment_methods(tx: Transaction, user_id: str) -> dict[str, PaymentMethod]:
    """The user's payment methods, whose balances nobody else changes until the commit."""
    await tx.execute(SQL["hold_payment_methods"], user_id=user_id)
    return await payment_methods_of(tx, user_id)


def method_in(methods: dict[str, PaymentMethod], method_id: str) -> PaymentMethod:
    """The user's payment method of this id."""
    if method_id not in methods:
        raise ToolRefused("payment method not found")
    return methods[method_id]


def covers(method: PaymentMethod, amount: Number) -> bool:
    """Whether the amount can be paid with it: a gift card has a limit, the others have none."""
    return not method.is_gift_card or method.balance >= amount


async def change_balance(
    tx: Transaction, user_id: str, method: PaymentMethod, by: Number
) -> PaymentMethod:
    """Add to a gift card that is held, rounding to cents."""
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
    """Put payments at the end of the order's history, which is `after` up to now."""
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
    """For each pair, turn the first line that has the item by then into the new item."""
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
    """Write down one of the order's lists of requested items, sorted as text."""
    for position, item_id in enumerate(sorted(item_ids)):
        await tx.execute(
            SQL["request_item"],
            order_id=order_id,
            request=request,
            position=position,
            item_id=item_id,
        )
