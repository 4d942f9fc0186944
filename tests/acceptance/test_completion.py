"""`twelvefold completion` in a real zsh and fish; `tests/cli/test_completion.py` has bash."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.shells import fish_offers, zsh_offers
from tests.cli.conftest import child

# The first test may have to install the shell.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
Offers = Callable[[Path, str], set[str]]


@pytest.mark.parametrize(
    ("name", "script", "offers"),
    [("zsh", "_twelvefold", zsh_offers), ("fish", "twelvefold.fish", fish_offers)],
    ids=["zsh", "fish"],
)
def test_a_shell_completes_commands_options_values_and_files(
    tmp_path: Path, name: str, script: str, offers: Offers
) -> None:
    done = child(tmp_path, "completion", name)
    assert (done.status, done.err) == (0, "")
    (tmp_path / script).write_text(done.out)
    (tmp_path / "receipt.png").touch()

    assert offers(tmp_path, "twelvefold ru") == {"run", "runs"}
    assert {"list", "show", "follow", "retry"} <= offers(tmp_path, "twelvefold runs ")
    options = {"--failed", "--since", "--workflow", "--json"}
    assert options <= offers(tmp_path, "twelvefold runs list --")
    values = offers(tmp_path, "twelvefold runs list --status c")
    assert values == {"completed", "cancelled"}
    assert offers(tmp_path, "twelvefold completion ") == {"bash", "zsh", "fish"}
    assert offers(tmp_path, "twelvefold run --image rec") == {"receipt.png"}
