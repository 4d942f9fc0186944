"""A shopping list that a household shares: a whole workflow in thirty lines."""

from twelvefold import DuplicateRow, Principal, ReadOnly, ToolRefused, Transaction, Workflow, tool


@tool
async def add_item(tx: Transaction, who: Principal, item: str) -> str:
    """Put one thing on the shopping list."""
    insert = "insert into shopping (item, added_by) values (:item, :who)"
    try:
        await tx.execute(insert, item=item, who=who.id)
    except DuplicateRow:
        raise ToolRefused(f"{item} is on the list already; say so") from None
    return f"{item} is on the list"


@tool
async def show_list(db: ReadOnly) -> list[dict[str, str]]:
    """Show what is on the shopping list and who put it there."""
    return await db.fetch_all("select item, added_by from shopping order by item")


workflow = Workflow(
    name="shopping",
    instructions="You keep a household's shopping list. Never answer from memory: use the tools.",
    tools=(add_item, show_list),
    schema="create table if not exists shopping (item varchar(100) primary key, added_by text);",
)
