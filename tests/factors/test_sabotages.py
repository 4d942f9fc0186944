"""The breaks that the factors are tried with still fit the code; the slow suite makes them."""

import pytest

from tests.acceptance.installed import Sabotage
from tests.acceptance.sabotages import NUMBERS, SABOTAGES
from twelvefold.factors.harness.source_code import HOME


def test_each_factor_is_sabotaged() -> None:
    assert tuple(one.factor for one in SABOTAGES) == NUMBERS


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda one: one.factor)
def test_what_is_broken_is_there_once(sabotage: Sabotage) -> None:
    text = (HOME / sabotage.file).read_text()

    assert [text.count(sound) for sound, _ in sabotage.edits] == [1] * len(sabotage.edits)
