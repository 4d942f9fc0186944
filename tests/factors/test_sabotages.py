"""The edits that break one factor each still match the code; the slow suite applies them."""

import pytest

from tests.acceptance.installed import Sabotage
from tests.acceptance.sabotages import NUMBERS, SABOTAGES
from twelvefold.factors.harness.source_code import PACKAGE_DIRECTORY


def test_there_is_a_sabotage_for_each_factor() -> None:
    assert tuple(sabotage.factor for sabotage in SABOTAGES) == NUMBERS


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda one: one.factor)
def test_the_edited_text_is_in_the_code_once(sabotage: Sabotage) -> None:
    text = (PACKAGE_DIRECTORY / sabotage.file).read_text()

    assert [text.count(original) for original, _ in sabotage.edits] == [1] * len(sabotage.edits)
