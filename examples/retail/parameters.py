"""The tools' parameters, as the model reads them."""

from typing import Annotated

from pydantic import Field

REASONS = ("no longer needed", "ordered by mistake")

Email = Annotated[str, Field(description="The email of the user, such as 'something@example.com'.")]
FirstName = Annotated[str, Field(description="The first name of the customer, such as 'John'.")]
LastName = Annotated[str, Field(description="The last name of the customer, such as 'Doe'.")]
CustomerZip = Annotated[str, Field(description="The zip code of the customer, such as '12345'.")]
UserId = Annotated[str, Field(description="The user id, such as 'sara_doe_496'.")]

Address1 = Annotated[
    str, Field(description="The first line of the address, such as '123 Main St'.")
]
Address2 = Annotated[
    str, Field(description="The second line of the address, such as 'Apt 1' or ''.")
]
City = Annotated[str, Field(description="The city, such as 'San Francisco'.")]
State = Annotated[str, Field(description="The state, such as 'CA'.")]
Country = Annotated[str, Field(description="The country, such as 'USA'.")]
Zip = Annotated[str, Field(description="The zip code, such as '12345'.")]

ProductId = Annotated[
    str,
    Field(
        description="The product id, such as '6086499569'. Be careful the product id is different "
        "from the item id."
    ),
]
OrderId = Annotated[
    str,
    Field(
        description="The order id, such as '#W0000000'. Be careful there is a '#' symbol at the "
        "beginning of the order id."
    ),
]
PaymentMethodId = Annotated[
    str,
    Field(
        description="The payment method id to pay or receive refund for the item price "
        "difference, such as 'gift_card_0000000' or 'credit_card_0000000'. These can be looked up "
        "from the user or order details."
    ),
]
# Any text is accepted here: the tool refuses another reason after it has checked the order.
Reason = Annotated[
    str,
    Field(
        description="The reason for cancellation, which should be either 'no longer needed' or "
        "'ordered by mistake'.",
        json_schema_extra={"enum": list(REASONS)},
    ),
]

ItemsToReturn = Annotated[
    list[str],
    Field(
        description="The item ids to be returned, each such as '1008292230'. There could be "
        "duplicate items in the list."
    ),
]
ItemsToModify = Annotated[
    list[str],
    Field(
        description="The item ids to be modified, each such as '1008292230'. There could be "
        "duplicate items in the list."
    ),
]
ItemsToModifyFor = Annotated[
    list[str],
    Field(
        description="The item ids to be modified for, each such as '1008292230'. There could be "
        "duplicate items in the list. Each new item id should match the item id in the same "
        "position and be of the same product."
    ),
]
ItemsToExchange = Annotated[
    list[str],
    Field(
        description="The item ids to be exchanged, each such as '1008292230'. There could be "
        "duplicate items in the list."
    ),
]
ItemsToExchangeFor = Annotated[
    list[str],
    Field(
        description="The item ids to be exchanged for, each such as '1008292230'. There could be "
        "duplicate items in the list. Each new item id should match the item id in the same "
        "position and be of the same product."
    ),
]

Expression = Annotated[
    str,
    Field(
        description="The mathematical expression to calculate, such as '2 + 2'. The expression "
        "can contain numbers, operators (+, -, *, /), parentheses, and spaces."
    ),
]
Thought = Annotated[str, Field(description="A thought to think about.")]
Summary = Annotated[str, Field(description="A summary of the user's issue.")]
