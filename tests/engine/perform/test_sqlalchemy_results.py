"""Rows and objects of SQLAlchemy as results of tools."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from twelvefold.core.tools.rendering import render_result


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[str]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("insert into orders values (1, '9.50'), (2, '0')"))
    yield engine
    engine.dispose()


def test_rows_of_sqlalchemy_become_their_columns(engine: Engine) -> None:
    query = select(Order.__table__).order_by("id")
    first, both = '{"id":1,"total":"9.50"}', '[{"id":1,"total":"9.50"},{"id":2,"total":"0"}]'

    with engine.connect() as connection:
        rows: Any = connection.execute(query).all()
        mappings: Any = connection.execute(query).mappings().all()

    assert (render_result(rows[0]), render_result(rows)) == (first, both)
    assert (render_result(mappings[0]), render_result(mappings)) == (first, both)
    assert render_result({"order": rows[0], "count": 2}) == f'{{"order":{first},"count":2}}'


def test_an_object_of_sqlalchemy_becomes_its_loaded_columns(engine: Engine) -> None:
    with Session(engine) as session:
        order = session.get(Order, 1)
        assert render_result(order) == '{"id":1,"total":"9.50"}'
        session.expire(order, ["total"])

        assert render_result([order]) == '[{"id":1}]'
