"""Ranges of ids that follow each other."""

from twelvefold.services.store.sql.ranges import IdRange, in_ranges, ranges_of, single_ranges


def test_ranges_have_the_chosen_ids_and_none_of_the_others() -> None:
    assert ranges_of("bcdgh", "abcdefgh") == [IdRange("b", "d"), IdRange("g", "h")]
    assert ranges_of("aceg", "abcdefgh") == single_ranges("aceg")
    assert ranges_of("", "abc") == []


def test_a_statement_has_the_ranges_wherever_it_has_the_list() -> None:
    statement = "SELECT 1 FROM a WHERE a.id IN (:threads) AND b IN (:threads) AND c IN (:others)"

    text, values = in_ranges(statement, [IdRange("a", "c"), IdRange("g", "g")])

    either = "({0} BETWEEN :first0 AND :last0 OR {0} = :first1)"
    assert text == (
        f"SELECT 1 FROM a WHERE {either.format('a.id')} AND {either.format('b')} AND c IN (:others)"
    )
    assert values == {"first0": "a", "last0": "c", "first1": "g"}
