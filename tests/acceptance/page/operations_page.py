"""The page object of the operations page, and a server that has something to operate."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from playwright.async_api import BrowserContext, Locator, expect

from tests.acceptance.page.chat_page import ChatPage
from tests.acceptance.page.serving import Site
from tests.acceptance.page.slow_model import SlowModel, slow_model
from twelvefold.core.events import Item
from twelvefold.services.model.demo import rules
from twelvefold.services.model.items import message

TIMEOUT_S = 240
HOSTILE = "<img/src=x/onerror=alert(1)>"
"""The name of a principal and of a tool, and part of an error."""


class OperationsPage(ChatPage):
    """Locators and actions of the operations page."""

    async def open_view(self, place: str) -> None:
        """Open a view, for example `runs?status=failed`, and wait until it is read."""
        await self.page.goto(f"{self.url}operations#{place}")
        await self.wait_until_read()

    async def go_to(self, name: str) -> None:
        """Open a view by its link."""
        navigation = self.page.get_by_role("navigation", name="Operations")
        await navigation.get_by_role("link", name=name, exact=True).click()
        await expect(self.title).to_have_text(name)
        await self.wait_until_read()

    async def views(self) -> list[str]:
        """Return the names of the views in the navigation."""
        names = await self.page.locator("#views a").all_inner_texts()
        assert names[0] == "Runs"
        return names

    async def wait_until_read(self) -> None:
        await expect(self.page.locator("#content:not([aria-busy]) .view")).to_be_visible()

    async def confirm(self, button: str) -> None:
        """Press a button of the dialog that is open."""
        await self.page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()

    @property
    def title(self) -> Locator:
        return self.page.locator("#title")

    @property
    def rows(self) -> Locator:
        return self.page.locator("table.data tbody tr")

    def row(self, text: str) -> Locator:
        return self.rows.filter(has_text=text)

    def cells(self, label: str) -> Locator:
        """Return the cells of a column."""
        return self.page.locator(f'table.data tbody [data-label="{label}"] > div')


async def new_operations_page(context: BrowserContext, url: str, key: str) -> OperationsPage:
    """Return a page; its tab has the key, unless that is empty."""
    page = await context.new_page()
    if key:
        await page.add_init_script(f"sessionStorage.setItem('twelvefold.key', {json.dumps(key)})")
    return OperationsPage(page, url)


def line(name: str, **arguments: Any) -> str:
    """Return a message by which the model of the tests calls a tool."""
    return f"{name} {json.dumps(arguments)}"


def reply(body: Item) -> list[Item]:
    """Make the calls that the user's text names, one a line, else reply as the demo model does.

    The calls are repeated as long as their last result is an error.
    """
    items = body["input"] if isinstance(body["input"], list) else [{"content": body["input"]}]
    content = items[0]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    if "{" not in text:
        return rules.reply(body)
    last = items[-1]
    if last.get("type") == "function_call_output" and not last["output"].startswith("Error"):
        return [message("Done.")]
    lines = [one.partition(" ") for one in text.splitlines()]
    return [
        {
            "type": "function_call",
            "name": name,
            "arguments": arguments,
            "call_id": f"c{len(items)}_{at}",
        }
        for at, (name, _, arguments) in enumerate(lines)
    ]


@dataclass
class Operated:
    """A server with the keys of an operator, `olga`, and of tenants by their principals."""

    site: Site
    model: SlowModel
    keys: dict[str, str]
    runs: dict[str, Any] = field(default_factory=dict)
    """Responses by what they show."""

    async def ask(self, principal: str, text: str, model: str = "orders", **more: Any) -> Any:
        """Return the response to a message of a tenant."""
        body = {"model": model, "input": text, **more}
        return await self.request("POST", "v1/responses", principal, json=body)

    async def request(self, method: str, path: str, principal: str = "olga", **more: Any) -> Any:
        headers = {"authorization": f"Bearer {self.keys[principal]}"}
        async with httpx2.AsyncClient(base_url=self.site.url, timeout=TIMEOUT_S) as client:
            answer = await client.request(method, path, headers=headers, **more)
        assert answer.is_success, answer.text
        return answer.json()


@asynccontextmanager
async def operated_site(directory: Path) -> AsyncIterator[Operated]:
    """Serve runs of several principals, some of which wait or have failed."""
    async with slow_model() as model:
        model.rules, model.delay_s = reply, 0
        settings = {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "none", "OPENAI_MODEL": "gpt-5"}
        # Nothing listens at this port, so mail stays in the outbox.
        settings |= {"SMTP_URL": "smtp://127.0.0.1:1", "MAIL_FROM": "office@academy.example"}
        site = Site(directory, **settings)
        scopes = [part for one in ("admin", "runs", "approve") for part in ("--scope", one)]
        keys = {
            "olga": site.command("keys", "create", "olga", *scopes).strip(),
            "ann": site.command("keys", "create", "ann").strip(),
            "bob": site.command("keys", "create", "bob").strip(),
            "eve": site.command("keys", "create", "eve", "--principal", HOSTILE).strip(),
        }
        await site.start()
        site.start_worker()
        operated = Operated(site, model, keys)
        try:
            await _start_runs(operated)
            yield operated
        finally:
            site.kill()


async def _start_runs(operated: Operated) -> None:
    bills = [line("pay", account="DE00", amount_usd=12.5), line("ask", kind="colour")]
    await _start(
        operated,
        {
            "enrolment": operated.ask("ann", "Sign me up for PY-101, please.", "enrolment"),
            "failed": operated.ask("ann", line("check_stock"), "refunds"),
            "family": operated.ask("ann", line("pay_all", bills=bills)),
            "question": operated.ask("bob", line("ask", kind="delivery")),
        },
    )


async def start_hostile_runs(operated: Operated) -> None:
    """Start runs whose principal, tool and error are markup."""
    await _start(
        operated,
        {
            "error": operated.ask(
                "eve", line("check_stock", problem=f"{HOSTILE}\u202e"), "refunds"
            ),
            "tool": operated.ask("eve", f"{HOSTILE} {{}}", "refunds", max_tool_calls=2),
            "principal": operated.ask("eve", line("ask", kind="text")),
        },
    )


async def _start(operated: Operated, started: dict[str, Awaitable[Any]]) -> None:
    responses = await asyncio.gather(*started.values())
    operated.runs |= zip(started, responses, strict=True)
