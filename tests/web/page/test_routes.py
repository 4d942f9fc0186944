"""The files of the page: how they are served, their policy, and that they fit together."""

import re
from pathlib import Path

import pytest

from tests.web.doubles import Keys, api_key, asking, web_on, with_routes
from twelvefold.services.model.demo.rules import NOTICE
from twelvefold.web.page import routes as page
from twelvefold.web.page.routes import PAGE

STATIC = Path(page.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
HTML = (STATIC / "chat.html").read_text(encoding="utf-8")
FILES = sorted(path for path in STATIC.iterdir() if path.suffix != ".html")
BYTES = {path.name: path.read_bytes() for path in FILES}


async def test_the_page_needs_no_key_and_its_policy_allows_only_its_own_files() -> None:
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
async def test_each_file_is_served_and_revalidated_by_its_etag(name: str) -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *PAGE)) as client:
        first = await client.get(f"/static/{name}")
        tag = first.headers["etag"]
        again = await client.get(f"/static/{name}", headers={"if-none-match": f"W/{tag}"})

    assert first.content == BYTES[name]
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["content-type"].split("/")[0] in ("text", "image")
    assert (again.status_code, again.content) == (304, b"")


async def test_no_other_path_is_served() -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *PAGE)) as client:
        for path in ("chat.html", "nope.js", "..%2Fpage.py", "%2e%2e/page.py"):
            assert (await client.get(f"/static/{path}")).status_code == 404


async def test_the_page_has_a_notice_for_the_demo_model() -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *PAGE)) as client:
        demo = (await client.get("/")).text
    async with web_on(Keys(), openai_api_key="k") as web, asking(with_routes(web, *PAGE)) as client:
        real = (await client.get("/")).text

    assert 'data-model="demo"' in demo
    assert 'data-model="openai"' in real
    assert "built-in demo model" in demo
    assert "built-in demo model" in NOTICE


def test_every_referenced_script_and_style_exists() -> None:
    named = set(re.findall(r'(?:src|href)="static/([^"]+)"', HTML))
    for script in SCRIPTS:
        named |= set(re.findall(r'from "\./([^"]+)"', script.read_text(encoding="utf-8")))

    assert named == {path.name for path in FILES}


def test_every_element_that_a_script_uses_is_in_the_page() -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', HTML))
    used = set()
    for script in SCRIPTS:
        used |= set(re.findall(r'byId\("([^"]+)"\)', script.read_text(encoding="utf-8")))

    assert used - ids == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_no_script_turns_text_into_markup_or_code(script: Path) -> None:
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"

    assert re.search(sinks, script.read_text(encoding="utf-8")) is None


@pytest.mark.parametrize("path", [*FILES, STATIC / "chat.html"], ids=lambda path: str(path.name))
def test_no_file_refers_to_another_server(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")

    assert re.search(r"https?://|//cdn|@import|\bstyle=", text) is None


def test_only_dom_js_inserts_text() -> None:
    """`dom.js` escapes foreign text; the other scripts insert only text of the page itself."""
    sinks = ("textContent =", "innerText", "innerHTML", "createTextNode", "insertAdjacent")

    found = [
        path.name
        for path in SCRIPTS
        for line in path.read_text(encoding="utf-8").splitlines()
        if path.name != "dom.js" and any(sink in line for sink in sinks)
    ]

    assert found == ["composer.js", "composer.js", "journal.js"]
