"""Value types for rows of the shop: the parts of an order and of a user that tools use."""

from dataclasses import dataclass
from itertools import groupby

from examples.retail.sql import SQL
from twelvefold import ReadOnly

Number = int | float
"""Money. The documents distinguish 60 and 60.0: an int stays an int until a sum changes it."""


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """A payment method. Only gift cards have `balance`, only credit cards `brand`, `last_four`."""

    id: str
    source: str
    brand: str | None
    last_four: str | None
    balance: Number

    @property
    def is_gift_card(self) -> bool:
        return self.source == "gift_card"


@dataclass(frozen=True, slots=True)
class Line:
    """One unit of an item in an order, with the price and options at the time of the order."""

    position: int
    name: str
    product_id: str
    item_id: str
    price: float
    options: dict[str, str]


@dataclass(frozen=True, slots=True)
class Payment:
    """A `payment` or a `refund`; the amount is never negative."""

    transaction_type: str
    amount: Number
    method_id: str


async def payment_methods_of(db: ReadOnly, user_id: str) -> dict[str, PaymentMethod]:
    """Return the user's payment methods by id, in the order of the user's document."""
    rows = await db.fetch_all(SQL["payment_methods"], user_id=user_id)
    return {
        row["payment_method_id"]: PaymentMethod(
            id=row["payment_method_id"],
            source=row["source"],
            brand=row["brand"],
            last_four=row["last_four"],
            balance=number(row["balance"] or 0, row["balance_is_int"]),
        )
        for row in rows
    }


async def lines_of(db: ReadOnly, order_id: str) -> list[Line]:
    """Return the order's lines by position."""
    rows = await db.fetch_all(SQL["order_lines"], order_id=order_id)
    lines: list[Line] = []
    for position, of_line in groupby(rows, key=lambda row: row["position"]):
        first, *more = of_line
        options = {row["option_name"]: row["option_value"] for row in (first, *more)}
        options.pop(None, None)  # a line without options is one row without an option
        lines.append(
            Line(
                position=position,
                name=first["name"],
                product_id=first["product_id"],
                item_id=first["item_id"],
                price=first["price"],
                options=options,
            )
        )
    return lines


async def payments_of(db: ReadOnly, order_id: str) -> list[Payment]:
    """Return payments and refunds, oldest first."""
    rows = await db.fetch_all(SQL["payments"], order_id=order_id)
    return [
        Payment(
            transaction_type=row["transaction_type"],
            amount=number(row["amount"], row["amount_is_int"]),
            method_id=row["payment_method_id"],
        )
        for row in rows
    ]


def number(value: float, is_int: bool | None) -> Number:
    """Return a stored double as an int if its `is_int` column is set."""
    return int(value) if is_int else value
