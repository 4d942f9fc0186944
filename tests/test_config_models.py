"""The setting MODELS: its fields, its errors, its keys and its display."""

import json
from typing import Any

import pytest

from twelvefold.admin.settings import setting_rows
from twelvefold.config import (
    NamedModel,
    Settings,
    key_variables,
    masked_models,
    misspelt,
)
from twelvefold.core.budget import Price
from twelvefold.errors import SettingsError

WHOLE = {
    "url": "https://ann:hush@api.example/v1/",
    "key": "sk-hush-1",
    "model": "small-1",
    "api": "chat",
    "price": {"input": 0.25, "cached": 0.025, "output": 2},
    "window": 32_000,
    "max_output_tokens": 1_000,
    "temperature": 0.2,
    "accepts": ["image", "file"],
    "headers": {"X-Team": "hush-2"},
    "timeout_s": 30,
}


def settings_with(models: object, **environ: str) -> Settings:
    text = models if isinstance(models, str) else json.dumps(models)
    return Settings.from_environ({"MODELS": text, **environ})


def problems_of(models: object, **environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        settings_with(models, **environ)
    return raised.value.problems


def test_a_model_has_all_its_fields() -> None:
    (model,) = settings_with({"fast": WHOLE}).models

    assert model == NamedModel(
        name="fast",
        url="https://ann:hush@api.example/v1",
        key="sk-hush-1",
        model="small-1",
        api="chat",
        price=Price(250_000, 25_000, 2_000_000),
        window=32_000,
        max_output_tokens=1_000,
        temperature=0.2,
        accepts=("image", "file"),
        headers=(("X-Team", "hush-2"),),
        timeout_s=30.0,
    )


def test_a_model_needs_nothing_but_its_name_at_the_server() -> None:
    settings = settings_with({"fast": {"model": "small-1"}, "careful": {"model": "large-1"}})

    assert settings.models == (
        NamedModel("fast", model="small-1"),
        NamedModel("careful", model="large-1"),
    )


def test_cached_input_costs_as_much_as_other_input_unless_its_price_is_given() -> None:
    price = {"input": 1, "output": "2.5"}

    (model,) = settings_with({"fast": {"model": "m", "price": price}}).models

    assert model.price == Price(1_000_000, 1_000_000, 2_500_000)


def test_the_key_can_be_that_of_another_variable() -> None:
    models = {"fast": {"url": "http://h/v1", "key_env": "FAST_KEY", "model": "m"}}

    (model,) = settings_with(models, FAST_KEY="sk-hush").models

    assert (model.key, model.key_env) == ("sk-hush", "FAST_KEY")
    assert problems_of(models) == ("MODELS: fast: key_env: FAST_KEY is not set",)
    assert problems_of(models, FAST_KEY="s k") == (
        "MODELS: fast: key_env: FAST_KEY: it has a character that is invalid in an HTTP header",
    )


def test_all_problems_are_reported_at_once() -> None:
    models = {
        "fast": {"url": "ftp://u:hush@h", "window": 5, "max_tokens": "hush"},
        "careful": {"model": "m", "api": "rest", "key": "hush", "temperature": True},
        "default": {"model": "m"},
    }

    assert problems_of(models, MAX_STEPS="0", RUN_BUDGET_USD="x") == (
        "MODELS: fast: url: 'ftp://u:****@h': use https://host or http://host",
        "MODELS: fast: window: 5: use a whole number, 1000 to 1000000000000",
        "MODELS: fast: max_tokens: ****: unknown field; did you mean max_output_tokens?",
        "MODELS: fast: model: is not set; give the name that the server knows",
        "MODELS: careful: api: 'rest': use responses or chat",
        "MODELS: careful: temperature: True: use a number",
        "MODELS: careful: key: is set, though url is not; without url the model has OPENAI_API_KEY",
        "MODELS: default: this is the name of the model that the variables OPENAI_* describe; "
        "use another",
        "MAX_STEPS: '0': use a whole number, 1 to 100000",
        "RUN_BUDGET_USD: 'x': use a number, 0.0001 to 1000000",
    )


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("model", "", "''"),
        ("model", 7, "7"),
        ("key", " ", "****"),
        ("key", "s k", "****"),
        ("key_env", "sk-hush", "****"),
        ("headers", "hush", "****"),
        ("headers", {"content-length": "hush"}, "****"),
        ("accepts", "image", "'image'"),
        ("accepts", ["sound"], "['sound']"),
        ("price", 3, "3"),
        ("price", {"input": 1}, "{'input': 1}"),
        ("price", {"input": -1, "output": 1}, "{'input': -1, 'output': 1}"),
        ("price", {"input": 1, "output": 1, "reply": 1}, "{'input': 1, 'output': 1, 'reply': 1}"),
        ("temperature", 3, "3"),
        ("timeout_s", None, "None"),
        ("colour", "hush", "****"),
    ],
)
def test_an_invalid_field_is_named_without_secrets(field: str, value: Any, problem: str) -> None:
    given = {"url": "http://h/v1", "model": "m", field: value}

    found = problems_of({"fast": given})

    assert len(found) == 1
    assert found[0].startswith(f"MODELS: fast: {field}: {problem}: ")
    assert "hush" not in found[0].partition("did you mean")[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{fast", "MODELS: it is not JSON at character 1; use {"),
        ("[]", "MODELS: it is no JSON object; use {"),
        ('{"a": "sk-hush"}', "MODELS: a: use an object of fields, as in {"),
        ('{"a": {"model": "m"}, "a": {"model": "m"}}', "MODELS: 'a' is there twice"),
        ('{"a/b": {"model": "m"}}', "MODELS: a/b: a name has 1 to 64 printable characters"),
        ('{"": {"model": "m"}}', "MODELS: : a name has 1 to 64 printable characters"),
        (
            '{"a": {"url": "http://h", "model": "m", "key": "k", "key_env": "K"}}',
            "MODELS: a: key: excludes key_env; give one of the two",
        ),
        (
            '{"a": {"url": "http://h", "model": "m", "key_env": "K", "key_file": "/k"}}',
            "MODELS: a: key_env: excludes key_file; give one of the two",
        ),
        (
            '{"a": {"model": "m", "key_file": "/k"}}',
            "MODELS: a: key_file: is set, though url is not; without url the model has",
        ),
    ],
)
def test_a_value_that_is_no_object_of_models_is_an_error(text: str, problem: str) -> None:
    found = problems_of(text)

    assert found[0].startswith(problem)
    assert "hush" not in "".join(found)


def test_a_budget_in_usd_needs_the_price_of_every_model() -> None:
    models = {"known": {"model": "gpt-5-nano"}, "own": {"model": "mine"}}

    assert problems_of(models, OPENAI_API_KEY="k", RUN_BUDGET_USD="1") == (
        "MODELS: own: price: is not set, and that of 'mine' is unknown; RUN_BUDGET_USD needs it",
    )
    # Without a server both are the demo model, which is free.
    assert len(settings_with(models, RUN_BUDGET_USD="1").models) == 2


def test_keys_headers_and_passwords_are_masked() -> None:
    text = json.dumps({"fast": WHOLE})

    (row,) = [row for row in setting_rows({"MODELS": text}) if row.name == "MODELS"]

    assert "hush" not in row.value
    shown = json.loads(row.value)["fast"]
    assert (shown["key"], shown["headers"]) == ("****", "****")
    assert shown["url"] == "https://ann:****@api.example/v1/"
    assert shown["window"] == 32_000
    assert "hush" not in repr(settings_with(text)) + repr(settings_with(text).models)
    assert masked_models('{"fast": "sk-hush"}') == "****"


def test_a_variable_with_the_key_of_a_model_is_not_misspelt() -> None:
    models = {"fast": {"url": "http://h/v1", "key_env": "OPENAI_API_KEYS", "model": "m"}}
    environ = {"MODELS": json.dumps(models), "OPENAI_API_KEYS": "sk-1"}

    assert misspelt(environ, key_variables(environ)) == []
    assert misspelt(environ) == ["unknown variable OPENAI_API_KEYS; did you mean OPENAI_API_KEY?"]
    assert key_variables({}) == key_variables({"MODELS": "{"}) == frozenset()
