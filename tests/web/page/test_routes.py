"""The page as files: what is served, under which policy, and that its parts fit together."""

import re
from pathlib import Path

import pytest

from tests.web.doubles import Keys, api_key, asking, web_on, with_routes
from twelvefold.services.model.demo.rules import NOTICE
from twelvefold.web.page import routes as page
from twelvefold.web.page.routes import PAGE

STATIC = Path(page.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
WHOLE = (STATIC / "chat.html").read_text(encoding="utf-8")
FILES = sorted(path for path in STATIC.iterdir() if path.suffix != ".html")
BYTES = {path.name: path.read_bytes() for path in FILES}


async def test_the_page_needs_no_key_and_lets_in_only_its_own_files() -> None:
    async with web_on(Keys([api_key()])) as web, asking(with_routes(web, *PAGE)) as client:
        answer = await client.get("/")

    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy
    assert "script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("name", BYTES)
async def test_each_file_is_served_and_asked_for_again_only_by_its_tag(name: str) -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *PAGE)) as client:
        first = await client.get(f"/static/{name}")
        tag = first.headers["etag"]
        again = await client.get(f"/static/{name}", headers={"if-none-match": f"W/{tag}"})

    assert first.content == BYTES[name]
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["content-type"].split("/")[0] in ("text", "image")
    assert (again.status_code, again.content) == (304, b"")


async def test_nothing_else_is_served() -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *PAGE)) as client:
        for path in ("chat.html", "nope.js", "..%2Fpage.py", "%2e%2e/page.py"):
            assert (await client.get(f"/static/{path}")).status_code == 404


async def test_the_page_says_when_the_demo_model_answers() -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *PAGE)) as client:
        demo = (await client.get("/")).text
    async with web_on(Keys(), openai_api_key="k") as web, asking(with_routes(web, *PAGE)) as client:
        real = (await client.get("/")).text

    assert 'data-model="demo"' in demo
    assert 'data-model="openai"' in real
    assert "built-in demo model" in demo
    assert "built-in demo model" in NOTICE


def test_every_script_and_style_that_is_named_is_there() -> None:
    named = set(re.findall(r'(?:src|href)="static/([^"]+)"', WHOLE))
    for script in SCRIPTS:
        named |= set(re.findall(r'from "\./([^"]+)"', script.read_text(encoding="utf-8")))

    assert named == {path.name for path in FILES}


def test_every_element_that_a_script_asks_for_is_in_the_page() -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', WHOLE))
    asked = set()
    for script in SCRIPTS:
        asked |= set(re.findall(r'byId\("([^"]+)"\)', script.read_text(encoding="utf-8")))

    assert asked - ids == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_no_script_makes_markup_or_code_of_text(script: Path) -> None:
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"

    assert re.search(sinks, script.read_text(encoding="utf-8")) is None


@pytest.mark.parametrize("path", [*FILES, STATIC / "chat.html"], ids=lambda path: str(path.name))
def test_no_file_names_another_server(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")

    assert re.search(r"https?://|//cdn|@import|\bstyle=", text) is None


def test_text_reaches_the_page_by_one_way_alone() -> None:
    """Every text goes through `dom.js`, except what is the page's own."""
    ways = ("textContent =", "innerText", "innerHTML", "createTextNode", "insertAdjacent")

    found = [
        path.name
        for path in SCRIPTS
        for line in path.read_text(encoding="utf-8").splitlines()
        if path.name != "dom.js" and any(way in line for way in ways)
    ]

    assert found == ["composer.js", "composer.js", "journal.js"]
