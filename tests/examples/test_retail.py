"""The retail shop's tools beyond the recordings: rare texts, numbers and concurrency."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from examples.retail.documents import order_document, product_document, user_document
from examples.retail.load import seed, taubench
from twelvefold import ReadOnly, ToolRefused, Transaction

if not taubench().is_dir():
    pytest.skip(f"no τ-bench data in {taubench()}", allow_module_level=True)

from examples.retail.workflow import workflow
from tests.acceptance.shop import Initial, Shop, open_shop

pytestmark = pytest.mark.asyncio(loop_scope="module")
Document = dict[str, Any]


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)],
)
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    url = os.environ.get("DATABASE_URL", "") if request.param == "mysql" else "sqlite://"
    if not url:
        pytest.skip("no DATABASE_URL; `make test` starts a server")
    async with open_shop(url, f"twelvefold_retail_{os.getpid()}", Initial()) as shop:
        yield shop


class Undo(Exception):
    """Ends a transaction without a commit."""


@asynccontextmanager
async def rolled_back(shop: Shop) -> AsyncIterator[Transaction]:
    """Provide a transaction that is rolled back."""
    try:
        async with shop.store.write() as tx:
            yield tx
            raise Undo
    except Undo:
        pass


async def call(db: ReadOnly, name: str, *values: Any) -> str:
    """Call a tool with positional values and return its text for the model."""
    try:
        return str(await workflow.by_name[name](db, *values))
    except ToolRefused as refusal:
        return f"Error: {refusal}"


async def call_and_commit(shop: Shop, name: str, *values: Any) -> str:
    """Call a tool in its own transaction, as the engine does."""
    try:
        async with shop.store.write() as tx:
            return str(await workflow.by_name[name](tx, *values))
    except ToolRefused as refusal:
        return f"Error: {refusal}"


def order_where(shop: Shop, fits: Callable[[Document, Document], bool]) -> Document:
    """Return the first order of the data set for which `fits(order, user)` is true."""
    records = {(one["table"], one["id"]): one["record"] for one in shop.initial.documents}
    orders = (record for (table, _), record in records.items() if table == "orders")
    found: Document = next(one for one in orders if fits(one, records["users", one["user_id"]]))
    return found


def pending_order(shop: Shop) -> Document:
    return order_where(shop, lambda order, user: order["status"] == "pending")


def delivered_order(shop: Shop) -> Document:
    return order_where(shop, lambda order, user: order["status"] == "delivered")


def is_paid_by_gift_card(order: Document, user: Document) -> bool:
    """Return whether a pending order was paid by gift card and the user has other methods."""
    payments = order["payment_history"]
    return (
        order["status"] == "pending"
        and len(user["payment_methods"]) > 1
        and payments[0]["payment_method_id"].startswith("gift_card")
    )


def has_unused_gift_card(order: Document, user: Document) -> bool:
    """Return whether a pending order was paid otherwise and the user has a gift card."""
    return (
        order["status"] == "pending"
        and not is_paid_by_gift_card(order, user)
        and any(method.startswith("gift_card") for method in user["payment_methods"])
    )


def document(shop: Shop, table: str, id: str) -> Document:
    found: Document = json.loads(shop.initial.texts[table, id])
    return found


def gift_card_of(shop: Shop, order: Document) -> Document:
    methods = document(shop, "users", order["user_id"])["payment_methods"]
    found: Document = next(one for one in methods.values() if one["source"] == "gift_card")
    return found


def paid_with(order: Document) -> str:
    method: str = order["payment_history"][0]["payment_method_id"]
    return method


async def test_an_amount_is_stored_exactly(shop: Shop) -> None:
    amount = 23.390000000000015
    order = pending_order(shop)

    async with rolled_back(shop) as tx:
        await tx.execute("update payment_history set amount = :amount", amount=amount)
        read = await order_document(tx, order["order_id"])

    assert read is not None
    assert read["payment_history"][0]["amount"] == amount


# Documents


async def test_every_document_is_returned_unchanged(shop: Shop) -> None:
    read = {"users": user_document, "products": product_document, "orders": order_document}

    async with shop.store.read() as db:
        for (table, id), text in shop.initial.texts.items():
            assert json.dumps(await read[table](db, id)) == text


async def test_ids_are_compared_exactly(shop: Shop) -> None:
    order_id = pending_order(shop)["order_id"]

    async with shop.store.read() as db:
        for other in (order_id.lower(), f"{order_id} ", f" {order_id}", order_id.strip("#")):
            assert await call(db, "get_order_details", other) == "Error: order not found"


async def test_users_are_found_by_mail_and_name_in_any_case(shop: Shop) -> None:
    user_id = pending_order(shop)["user_id"]
    user = document(shop, "users", user_id)
    first, last = user["name"]["first_name"], user["name"]["last_name"]
    zip_code = user["address"]["zip"]

    async with shop.store.read() as db:
        by_mail = await call(db, "find_user_id_by_email", user["email"].upper())
        by_name = await call(db, "find_user_id_by_name_zip", first.upper(), last.lower(), zip_code)
        padded = await call(db, "find_user_id_by_email", user["email"] + " ")
        elsewhere = await call(db, "find_user_id_by_name_zip", first, last, zip_code + " ")

    assert (by_mail, by_name) == (user_id, user_id)
    assert (padded, elsewhere) == ("Error: user not found", "Error: user not found")


async def test_an_address_may_contain_any_text(shop: Shop) -> None:
    order_id = pending_order(shop)["order_id"]
    address = ["1 'Main' \"St\"", "", "Zürich \\ %s :x", "🏔" * 300, "\u0000", "8001 "]

    async with rolled_back(shop) as tx:
        result = json.loads(await call(tx, "modify_pending_order_address", order_id, *address))

    keys = ["address1", "address2", "city", "state", "country", "zip"]
    assert list(result["address"].items()) == list(zip(keys, address, strict=True))


async def test_documents_can_be_seeded_from_a_file(shop: Shop) -> None:
    order = delivered_order(shop)
    user = document(shop, "users", order["user_id"])
    records = [
        {
            "table": "users",
            "id": "twin",
            "record": {**user, "payment_methods": {}, "orders": ["#1"]},
        },
        {"table": "orders", "id": "#1", "record": {**order, "order_id": "#1", "user_id": "twin"}},
    ]

    async with rolled_back(shop) as tx:
        assert await seed(tx, records) == 2
        assert await order_document(tx, "#1") == records[1]["record"]


async def test_existing_documents_are_not_seeded_again(shop: Shop) -> None:
    async with rolled_back(shop) as tx:
        assert await seed(tx) == 0


async def test_an_order_without_its_user_is_not_seeded(shop: Shop) -> None:
    order = delivered_order(shop)

    async with rolled_back(shop) as tx:
        with pytest.raises(ValueError, match="comes before its user"):
            await seed(tx, [{"table": "orders", "id": order["order_id"], "record": order}])


# Cancelling


async def test_the_reason_is_checked_after_the_order(shop: Shop) -> None:
    pending, delivered = pending_order(shop)["order_id"], delivered_order(shop)["order_id"]

    result = [
        await call_and_commit(shop, "cancel_pending_order", order_id, "changed my mind")
        for order_id in ("#W0", delivered, pending)
    ]

    assert result == [
        "Error: order not found",
        "Error: non-pending order cannot be cancelled",
        "Error: invalid reason",
    ]


async def test_a_refused_call_writes_nothing(shop: Shop) -> None:
    order = pending_order(shop)

    await call_and_commit(shop, "cancel_pending_order", order["order_id"], "no idea")

    assert not await shop.changed([("orders", order["order_id"]), ("users", order["user_id"])])
    assert await shop.put_back([])


async def test_cancelling_after_a_change_of_payment_refunds_every_entry(shop: Shop) -> None:
    order = order_where(shop, is_paid_by_gift_card)
    card, user_id = gift_card_of(shop, order), order["user_id"]
    methods = document(shop, "users", user_id)["payment_methods"]
    other = next(method for method in methods if method != card["id"])
    amount = order["payment_history"][0]["amount"]

    async with rolled_back(shop) as tx:
        await call(tx, "modify_pending_order_payment", order["order_id"], other)
        again = await call(tx, "modify_pending_order_payment", order["order_id"], card["id"])
        result = await call(tx, "cancel_pending_order", order["order_id"], "no longer needed")
        user = await user_document(tx, user_id)

    assert again == "Error: there should be exactly one payment for a pending order"
    history = [tuple(entry.values()) for entry in json.loads(result)["payment_history"]]
    assert history == [
        ("payment", amount, card["id"]),
        ("payment", amount, other),
        ("refund", amount, card["id"]),
        ("refund", amount, card["id"]),
        ("refund", amount, other),
        ("refund", amount, card["id"]),
    ]
    assert user is not None
    balance = card["balance"]
    for _ in range(3):
        balance = round(balance + amount, 2)
    assert user["payment_methods"][card["id"]]["balance"] == balance


# Items


async def test_a_gift_card_with_a_low_balance_is_refused(shop: Shop) -> None:
    order = order_where(shop, has_unused_gift_card)
    card, line = gift_card_of(shop, order), order["items"][0]
    variants = document(shop, "products", line["product_id"])["variants"].values()
    item_id = next(one["item_id"] for one in variants if one["item_id"] != line["item_id"])

    async with rolled_back(shop) as tx:
        await tx.execute(
            "update variants set price = :price, available = true where item_id = :item_id",
            price=line["price"] + card["balance"] + 0.01,
            item_id=item_id,
        )
        result = await call(
            tx,
            "modify_pending_order_items",
            order["order_id"],
            [line["item_id"]],
            [item_id],
            card["id"],
        )

    assert result == "Error: insufficient gift card balance to pay for the new item"


async def test_modifying_no_items_refunds_an_integer_zero(shop: Shop) -> None:
    order = order_where(shop, has_unused_gift_card)
    card = gift_card_of(shop, order)

    async with rolled_back(shop) as tx:
        result = await call(tx, "modify_pending_order_items", order["order_id"], [], [], card["id"])
        user = await call(tx, "get_user_details", order["user_id"])

    assert '"transaction_type": "refund", "amount": 0, "payment' in result
    assert json.loads(result)["status"] == "pending (item modified)"
    assert f'"balance": {card["balance"]}, ' in user


async def test_a_changed_balance_is_a_float(shop: Shop) -> None:
    order = order_where(shop, has_unused_gift_card)
    card, line = gift_card_of(shop, order), order["items"][0]

    async with rolled_back(shop) as tx:
        await tx.execute(
            "update variants set available = true where item_id = :item_id", item_id=line["item_id"]
        )
        items = [line["item_id"]]
        result = await call(
            tx, "modify_pending_order_items", order["order_id"], items, items, card["id"]
        )
        user = await call(tx, "get_user_details", order["user_id"])

    assert '"transaction_type": "refund", "amount": 0.0, "payment' in result
    assert f'"balance": {card["balance"]}.0, ' in user


async def test_returning_and_exchanging_no_items_is_allowed(shop: Shop) -> None:
    order = delivered_order(shop)
    order_id, method = order["order_id"], paid_with(order)

    async with rolled_back(shop) as tx:
        returned = json.loads(await call(tx, "return_delivered_order_items", order_id, [], method))
    async with rolled_back(shop) as tx:
        exchanged = await call(tx, "exchange_delivered_order_items", order_id, [], [], method)

    assert list(returned.items())[-2:] == [
        ("return_items", []),
        ("return_payment_method_id", method),
    ]
    assert exchanged.endswith(
        '"exchange_items": [], "exchange_new_items": [], '
        f'"exchange_payment_method_id": "{method}", "exchange_price_difference": 0}}'
    )


async def test_each_pair_sees_the_changes_of_earlier_pairs(shop: Shop) -> None:
    order = pending_order(shop)
    first, method = order["items"][0], paid_with(order)
    variants = document(shop, "products", first["product_id"])["variants"]
    second, third = [item_id for item_id in variants if item_id != first["item_id"]][:2]
    twice = [first["item_id"], first["item_id"]]

    async with rolled_back(shop) as tx:
        await tx.execute("update variants set available = true")
        await tx.execute(
            "update order_items set item_id = :item_id, product_id = :product_id"
            " where order_id = :order_id and position <= 1",
            item_id=first["item_id"],
            product_id=first["product_id"],
            order_id=order["order_id"],
        )
        result = await call(
            tx, "modify_pending_order_items", order["order_id"], twice, [second, third], method
        )
        thrice = await call(
            tx, "modify_pending_order_items", order["order_id"], [*twice, twice[0]], [], method
        )

    lines = json.loads(result)["items"]
    assert [line["item_id"] for line in lines[:2]] == [second, third]
    assert [line["options"] for line in lines[:2]] == [
        variants[second]["options"],
        variants[third]["options"],
    ]
    assert thrice == "Error: non-pending order cannot be modified"


# Concurrency


async def test_one_of_two_concurrent_calls_cancels_the_order(shop: Shop) -> None:
    order = order_where(shop, is_paid_by_gift_card)
    keys = [("orders", order["order_id"]), ("users", order["user_id"])]

    result = await asyncio.gather(
        *(
            call_and_commit(shop, "cancel_pending_order", order["order_id"], "ordered by mistake")
            for _ in range(2)
        )
    )

    assert sorted(result)[0] == "Error: non-pending order cannot be cancelled"
    assert len(json.loads(sorted(result)[1])["payment_history"]) == 2
    assert await shop.put_back(await shop.changed(keys))


async def test_two_concurrent_refunds_are_both_added_to_the_card(shop: Shop) -> None:
    def has_a_twin(order: Document, user: Document) -> bool:
        return is_paid_by_gift_card(order, user) and len(twins(order)) > 1

    def twins(order: Document) -> list[Document]:
        """Return the orders that were paid with the same card."""
        orders = (one["record"] for one in shop.initial.documents if one["table"] == "orders")
        return [
            one
            for one in orders
            if one["status"] == "pending" and paid_with(one) == paid_with(order)
        ]

    order = order_where(shop, has_a_twin)
    pair, card = twins(order)[:2], gift_card_of(shop, order)
    keys = [("users", order["user_id"]), *(("orders", one["order_id"]) for one in pair)]

    await asyncio.gather(
        *(
            call_and_commit(shop, "cancel_pending_order", one["order_id"], "ordered by mistake")
            for one in pair
        )
    )

    changed = await shop.changed(keys)
    balance = changed["users", order["user_id"]]["payment_methods"][card["id"]]["balance"]
    refunded = sum(one["payment_history"][0]["amount"] for one in pair)
    assert balance == pytest.approx(card["balance"] + refunded)
    assert await shop.put_back(changed)
