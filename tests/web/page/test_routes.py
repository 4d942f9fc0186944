"""The files of the pages: how they are served, their policy, and that they fit together."""

import re
from pathlib import Path

import pytest

from tests.web.doubles import Keys, api_key, asking, web_on, with_routes
from twelvefold.services.model.demo.rules import NOTICE
from twelvefold.web.page import routes as page
from twelvefold.web.page.routes import PAGE

STATIC = Path(page.__file__).parent / "static"
SCRIPTS = sorted(STATIC.rglob("*.js"))
TEMPLATES = sorted(STATIC.rglob("*.html"))
FILES = sorted(path for path in STATIC.rglob("*.*") if path.suffix != ".html")
BYTES = {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in FILES}
LOGIN = (STATIC / "login.html").read_text(encoding="utf-8")
ENTRIES = {"chat.html": "main.js", "operations/operations.html": "operations/main.js"}
"""The template of each page, and the script that starts it."""


def html_of(template: str) -> str:
    return (STATIC / template).read_text(encoding="utf-8").replace("{{login}}", LOGIN)


def imports_of(script: Path) -> set[Path]:
    """Return the scripts that a script imports."""
    text = script.read_text(encoding="utf-8")
    found = re.findall(r'^import (?:.* from )?"(\.[^"]+)"', text, re.MULTILINE)
    return {(script.parent / name).resolve() for name in found}


def loaded(template: str) -> set[Path]:
    """Return the scripts and styles that a page loads."""
    named = re.findall(r'(?:src|href)="static/([^"]+)"', html_of(template))
    found, rest = set[Path](), {STATIC / name for name in named}
    while rest:
        path = rest.pop()
        found.add(path)
        if path.suffix == ".js":
            rest |= imports_of(path) - found
    return found


@pytest.mark.parametrize("path", ["/", "/operations"])
async def test_a_page_needs_no_key_and_its_policy_allows_only_its_own_files(path: str) -> None:
    async with web_on(Keys([api_key()])) as web, asking(with_routes(web, *PAGE)) as client:
        answer = await client.get(path)

    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy
    assert "script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"


async def test_each_file_is_served_and_revalidated_by_its_etag() -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *PAGE)) as client:
        for name, body in BYTES.items():
            first = await client.get(f"/static/{name}")
            tag = first.headers["etag"]
            again = await client.get(f"/static/{name}", headers={"if-none-match": f"W/{tag}"})

            assert first.content == body
            assert first.headers["cache-control"] == "no-cache"
            assert first.headers["content-type"].split("/")[0] in ("text", "image")
            assert (again.status_code, again.content) == (304, b"")


async def test_no_other_path_is_served() -> None:
    async with web_on(Keys()) as web, asking(with_routes(web, *PAGE)) as client:
        for path in (
            "chat.html",
            "operations/operations.html",
            "nope.js",
            "operations",
            "..%2Fpage.py",
            "%2e%2e/page.py",
        ):
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


def test_the_pages_load_exactly_the_files_that_there_are() -> None:
    assert {path for entry in ENTRIES for path in loaded(entry)} == set(FILES)


@pytest.mark.parametrize("template", ENTRIES)
def test_every_element_that_a_script_uses_is_in_its_page(template: str) -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', html_of(template)))
    entry = (STATIC / ENTRIES[template]).read_text(encoding="utf-8")
    used = set(re.findall(r'byId\("([^"]+)"\)', entry))

    assert used
    assert used - ids == set()


@pytest.mark.parametrize("template", ENTRIES)
def test_every_part_of_a_template_is_filled(template: str) -> None:
    parts = {"chat.html": {"model", "login"}, "operations/operations.html": {"login"}}
    text = (STATIC / template).read_text(encoding="utf-8")

    assert set(re.findall(r"{{(\w+)}}", text)) == parts[template]


def test_every_element_that_a_script_uses_is_in_a_page() -> None:
    ids = {one for entry in ENTRIES for one in re.findall(r'\bid="([^"]+)"', html_of(entry))}
    used = set[str]()
    for script in SCRIPTS:
        used |= set(re.findall(r'byId\("([^"]+)"\)', script.read_text(encoding="utf-8")))

    assert used - ids == set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.name))
def test_no_script_turns_text_into_markup_or_code(script: Path) -> None:
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"

    assert re.search(sinks, script.read_text(encoding="utf-8")) is None


@pytest.mark.parametrize("path", [*FILES, *TEMPLATES], ids=lambda path: str(path.name))
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
