"""The sixteen tools of τ-bench's retail shop.

A tool that writes changes the order's status first and checks the rest after that: a refusal rolls
it back.
"""

import json

from examples.retail import calculator
from examples.retail.documents import order_document, product_document, text_of, user_document
from examples.retail.orders import (
    GIFT_CARD,
    add_payments,
    change_balance,
    covers,
    find_method,
    first_excess_item,
    lock_payment_methods,
    price_difference,
    request_items,
    swap_lines,
    take_order,
)
from examples.retail.parameters import (
    REASONS,
    Address1,
    Address2,
    City,
    Country,
    CustomerZip,
    Email,
    Expression,
    FirstName,
    ItemsToExchange,
    ItemsToExchangeFor,
    ItemsToModify,
    ItemsToModifyFor,
    ItemsToReturn,
    LastName,
    OrderId,
    PaymentMethodId,
    ProductId,
    Reason,
    State,
    Summary,
    Thought,
    UserId,
    Zip,
)
from examples.retail.records import Payment, lines_of, payment_methods_of, payments_of
from examples.retail.sql import SQL
from twelvefold import ReadOnly, ToolRefused, Transaction, tool

# Reading


@tool
async def find_user_id_by_email(db: ReadOnly, email: Email) -> str:
    """Find user id by email. If the user is not found, the function will return an error
    message.
    """
    user = await db.fetch_one(SQL["user_by_email"], email_lower=email.lower())
    if user is None:
        raise ToolRefused("user not found")
    return str(user["user_id"])


@tool
async def find_user_id_by_name_zip(
    db: ReadOnly,
    first_name: FirstName,
    last_name: LastName,
    zip: CustomerZip,
) -> str:
    """Find user id by first name, last name, and zip code. If the user is not found, the function
    will return an error message. By default, find user id by email, and only call this function if
    the user is not found by email or cannot remember email.
    """
    user = await db.fetch_one(
        SQL["user_by_name_zip"],
        first_name_lower=first_name.lower(),
        last_name_lower=last_name.lower(),
        zip=zip,
    )
    if user is None:
        raise ToolRefused("user not found")
    return str(user["user_id"])


@tool
async def get_user_details(db: ReadOnly, user_id: UserId) -> str:
    """Get the details of a user, including their orders."""
    return await _user_text(db, user_id)


async def _user_text(db: ReadOnly, user_id: str) -> str:
    user = await user_document(db, user_id)
    if user is None:
        raise ToolRefused("user not found")
    return text_of(user)


@tool
async def get_order_details(db: ReadOnly, order_id: OrderId) -> str:
    """Get the status and details of an order."""
    return await _order_text(db, order_id)


async def _order_text(db: ReadOnly, order_id: str) -> str:
    order = await order_document(db, order_id)
    if order is None:
        raise ToolRefused("order not found")
    return text_of(order)


@tool
async def get_product_details(db: ReadOnly, product_id: ProductId) -> str:
    """Get the inventory details of a product."""
    product = await product_document(db, product_id)
    if product is None:
        raise ToolRefused("product not found")
    return text_of(product)


@tool
async def list_all_product_types(db: ReadOnly) -> str:
    """List the name and product id of all product types. Each product type has a variety of
    different items with unique item ids and options. There are only 50 product types in the store.
    """
    rows = await db.fetch_all(SQL["product_types"])
    return json.dumps({row["name"]: row["product_id"] for row in rows})


# Neither reading nor writing


@tool(effect="pure")
async def calculate(expression: Expression) -> str:
    """Calculate the result of a mathematical expression."""
    try:
        return str(calculator.calculate(expression))
    except calculator.CannotCalculate as error:
        raise ToolRefused(str(error)) from error


@tool(effect="pure")
async def think(thought: Thought) -> str:
    """Use the tool to think about something. It will not obtain new information or change the
    database, but just append the thought to the log. Use it when complex reasoning or some cache
    memory is needed.
    """
    return ""


@tool(effect="pure")
async def transfer_to_human_agents(summary: Summary) -> str:
    """Transfer the user to a human agent, with a summary of the user's issue. Only transfer if the
    user explicitly asks for a human agent, or if the user's issue cannot be resolved by the agent
    with the available tools.
    """
    return "Transfer successful"


# Changing pending orders


@tool
async def cancel_pending_order(tx: Transaction, order_id: OrderId, reason: Reason) -> str:
    """Cancel a pending order. If the order is already processed or delivered, it cannot be
    cancelled. The agent needs to explain the cancellation detail and ask for explicit user
    confirmation (yes/no) to proceed. If the user confirms, the order status will be changed to
    'cancelled' and the payment will be refunded. The refund will be added to the user's gift card
    balance immediately if the payment was made using a gift card, otherwise the refund would take
    5-7 business days to process. The function returns the order details after the cancellation.
    """
    user_id = await take_order(
        tx,
        order_id,
        status="pending",
        becomes="cancelled",
        otherwise="non-pending order cannot be cancelled",
    )
    if reason not in REASONS:
        raise ToolRefused("invalid reason")
    await tx.execute(SQL["set_cancel_reason"], order_id=order_id, reason=reason)
    payments = await payments_of(tx, order_id)
    refunds = [Payment("refund", payment.amount, payment.method_id) for payment in payments]
    await add_payments(tx, order_id, refunds, after=payments)
    methods = await lock_payment_methods(tx, user_id)
    for refund in refunds:
        if GIFT_CARD in refund.method_id:
            card = methods[refund.method_id]
            methods[card.id] = await change_balance(tx, user_id, card, refund.amount)
    return await _order_text(tx, order_id)


@tool
async def modify_pending_order_address(
    tx: Transaction,
    order_id: OrderId,
    address1: Address1,
    address2: Address2,
    city: City,
    state: State,
    country: Country,
    zip: Zip,
) -> str:
    """Modify the shipping address of a pending order. The agent needs to explain the modification
    detail and ask for explicit user confirmation (yes/no) to proceed.
    """
    await _take_pending(tx, order_id)
    await tx.execute(
        SQL["redirect_order"],
        order_id=order_id,
        address1=address1,
        address2=address2,
        city=city,
        state=state,
        country=country,
        zip=zip,
    )
    return await _order_text(tx, order_id)


async def _take_pending(tx: Transaction, order_id: str, *, becomes: str = "pending") -> str:
    return await take_order(
        tx,
        order_id,
        status="pending",
        becomes=becomes,
        otherwise="non-pending order cannot be modified",
    )


@tool
async def modify_pending_order_items(
    tx: Transaction,
    order_id: OrderId,
    item_ids: ItemsToModify,
    new_item_ids: ItemsToModifyFor,
    payment_method_id: PaymentMethodId,
) -> str:
    """Modify items in a pending order to new items of the same product type. For a pending order,
    this function can only be called once. The agent needs to explain the exchange detail and ask
    for explicit user confirmation (yes/no) to proceed.
    """
    user_id = await _take_pending(tx, order_id, becomes="pending (item modified)")
    lines = await lines_of(tx, order_id)
    difference = await price_difference(tx, lines, item_ids, new_item_ids)
    method = find_method(await lock_payment_methods(tx, user_id), payment_method_id)
    if not covers(method, difference):
        raise ToolRefused("insufficient gift card balance to pay for the new item")
    paid = Payment("payment" if difference > 0 else "refund", abs(difference), method.id)
    await add_payments(tx, order_id, [paid], after=await payments_of(tx, order_id))
    if method.is_gift_card:
        await change_balance(tx, user_id, method, -difference)
    await swap_lines(tx, order_id, lines, item_ids, new_item_ids)
    return await _order_text(tx, order_id)


@tool
async def modify_pending_order_payment(
    tx: Transaction, order_id: OrderId, payment_method_id: PaymentMethodId
) -> str:
    """Modify the payment method of a pending order. The agent needs to explain the modification
    detail and ask for explicit user confirmation (yes/no) to proceed.
    """
    user_id = await _take_pending(tx, order_id)
    methods = await lock_payment_methods(tx, user_id)
    method = find_method(methods, payment_method_id)
    payments = await payments_of(tx, order_id)
    if len(payments) > 1 or payments[0].transaction_type != "payment":
        raise ToolRefused("there should be exactly one payment for a pending order")
    amount, old_id = payments[0].amount, payments[0].method_id
    if method.id == old_id:
        raise ToolRefused("the new payment method should be different from the current one")
    if not covers(method, amount):
        raise ToolRefused("insufficient gift card balance to pay for the order")
    moved = [Payment("payment", amount, method.id), Payment("refund", amount, old_id)]
    await add_payments(tx, order_id, moved, after=payments)
    if method.is_gift_card:
        await change_balance(tx, user_id, method, -amount)
    if GIFT_CARD in old_id:
        await change_balance(tx, user_id, methods[old_id], amount)
    return await _order_text(tx, order_id)


# Returning and exchanging delivered orders


@tool
async def return_delivered_order_items(
    tx: Transaction,
    order_id: OrderId,
    item_ids: ItemsToReturn,
    payment_method_id: PaymentMethodId,
) -> str:
    """Return some items of a delivered order. The order status will be changed to 'return
    requested'. The agent needs to explain the return detail and ask for explicit user confirmation
    (yes/no) to proceed. The user will receive follow-up email for how and where to return the item.
    """
    user_id = await take_order(
        tx,
        order_id,
        status="delivered",
        becomes="return requested",
        otherwise="non-delivered order cannot be returned",
    )
    method = find_method(await payment_methods_of(tx, user_id), payment_method_id)
    payments = await payments_of(tx, order_id)
    if GIFT_CARD not in method.id and method.id != payments[0].method_id:
        raise ToolRefused(
            "payment method should be either the original payment method or a gift card"
        )
    if first_excess_item(item_ids, await lines_of(tx, order_id)) is not None:
        raise ToolRefused("some item not found")
    await request_items(tx, order_id, "return_items", item_ids)
    await tx.execute(SQL["request_return"], order_id=order_id, payment_method_id=method.id)
    return await _order_text(tx, order_id)


@tool
async def exchange_delivered_order_items(
    tx: Transaction,
    order_id: OrderId,
    item_ids: ItemsToExchange,
    new_item_ids: ItemsToExchangeFor,
    payment_method_id: PaymentMethodId,
) -> str:
    """Exchange items in a delivered order to new items of the same product type. For a delivered
    order, return or exchange can be only done once by the agent. The agent needs to explain the
    exchange detail and ask for explicit user confirmation (yes/no) to proceed.
    """
    user_id = await take_order(
        tx,
        order_id,
        status="delivered",
        becomes="exchange requested",
        otherwise="non-delivered order cannot be exchanged",
    )
    lines = await lines_of(tx, order_id)
    difference = round(await price_difference(tx, lines, item_ids, new_item_ids), 2)
    method = find_method(await payment_methods_of(tx, user_id), payment_method_id)
    if not covers(method, difference):
        raise ToolRefused("insufficient gift card balance to pay for the price difference")
    await request_items(tx, order_id, "exchange_items", item_ids)
    await request_items(tx, order_id, "exchange_new_items", new_item_ids)
    await tx.execute(
        SQL["request_exchange"],
        order_id=order_id,
        payment_method_id=method.id,
        difference=difference,
        is_int=isinstance(difference, int),
    )
    return await _order_text(tx, order_id)


# Users


@tool
async def modify_user_address(
    tx: Transaction,
    user_id: UserId,
    address1: Address1,
    address2: Address2,
    city: City,
    state: State,
    country: Country,
    zip: Zip,
) -> str:
    """Modify the default address of a user. The agent needs to explain the modification detail and
    ask for explicit user confirmation (yes/no) to proceed.
    """
    moved = await tx.execute(
        SQL["move_user"],
        user_id=user_id,
        address1=address1,
        address2=address2,
        city=city,
        state=state,
        country=country,
        zip=zip,
    )
    if not moved:
        raise ToolRefused("user not found")
    return await _user_text(tx, user_id)


TOOLS = (
    calculate,
    cancel_pending_order,
    exchange_delivered_order_items,
    find_user_id_by_email,
    find_user_id_by_name_zip,
    get_order_details,
    get_product_details,
    get_user_details,
    list_all_product_types,
    modify_pending_order_address,
    modify_pending_order_items,
    modify_pending_order_payment,
    modify_user_address,
    return_delivered_order_items,
    think,
    transfer_to_human_agents,
)
"""In the order of the benchmark's own list."""
