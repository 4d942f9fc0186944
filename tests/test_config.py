"""Settings are read from the environment; errors and warnings name the variable."""

import re
from pathlib import Path

import pytest

from twelvefold.config import MYSQL, Settings, list_variables, masked, misspelt, unused
from twelvefold.config.parse import url_with_password
from twelvefold.core import Price
from twelvefold.errors import SettingsError


def problems_of(**environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(environ)
    return caught.value.problems


def test_all_settings_have_defaults() -> None:
    assert Settings.from_environ({"PATH": "/bin", "HOME": "/"}) == Settings()


def test_every_variable_is_read_into_its_type() -> None:
    settings = Settings.from_environ(
        {
            "DATABASE_URL": "mysql://app:pw@db:3306/shop",
            "DATABASE_POOL_SIZE": "20",
            "OPENAI_API_KEY": "sk-1",
            "OPENAI_BASE_URL": "http://127.0.0.1:8080/v1/",
            "OPENAI_MODEL": "llama-3",
            "OPENAI_API": "Chat",
            "OPENAI_TEMPERATURE": "0",
            "OPENAI_MAX_OUTPUT_TOKENS": "512",
            "OPENAI_CONTEXT_TOKENS": "8192",
            "MODEL_TIMEOUT_S": "2.5",
            "WORKFLOWS": "shop.flow:workflow, desk:flow",
            "MAX_STEPS": "7",
            "RUN_DEADLINE_S": "60",
            "RUN_BUDGET_TOKENS": "1000",
            "LEASE_S": "5",
            "MAX_RUNS": "2",
            "GRACE_S": "1",
            "HOST": "::1",
            "PORT": "80",
            "TLS_CERT": "/etc/tls/cert.pem",
            "TLS_KEY": "/etc/tls/key.pem",
            "TRUSTED_PROXIES": "10.0.0.1, 2001:db8::/32",
            "WEB_DRIVES": "background",
            "MAX_BODY_BYTES": "2048",
            "RATE_PER_MINUTE": "600",
            "TOOL_ITEMS": "function",
            "CHILD_ITEMS": "nested",
            "TOOL_OUTPUTS": "none",
            "SMTP_URL": "smtps://mail:465",
            "MAIL_FROM": "Desk <desk@example.com>",
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "text",
            "RELEASE_ID": "abc",
        }
    )

    assert settings == Settings(
        database_url="mysql://app:pw@db:3306/shop",
        database_pool_size=20,
        openai_api_key="sk-1",
        openai_base_url="http://127.0.0.1:8080/v1",
        openai_model="llama-3",
        openai_api="chat",
        openai_temperature=0.0,
        openai_max_output_tokens=512,
        openai_context_tokens=8192,
        model_timeout_s=2.5,
        workflows=("shop.flow:workflow", "desk:flow"),
        max_steps=7,
        run_deadline_s=60.0,
        run_budget_tokens=1000,
        lease_s=5.0,
        max_runs=2,
        grace_s=1.0,
        host="::1",
        port=80,
        tls_cert="/etc/tls/cert.pem",
        tls_key="/etc/tls/key.pem",
        trusted_proxies=("10.0.0.1", "2001:db8::/32"),
        web_drives="background",
        max_body_bytes=2048,
        rate_per_minute=600,
        tool_items="function",
        tool_outputs="none",
        child_items="nested",
        smtp_url="smtps://mail:465",
        mail_from="Desk <desk@example.com>",
        log_level="debug",
        log_format="text",
        release_id="abc",
    )


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_environ({"OPENAI_API_KEY": "", "MAX_STEPS": " "}) == Settings()


def test_whitespace_around_a_value_is_removed() -> None:
    assert Settings.from_environ({"OPENAI_API_KEY": "sk-1\n"}).openai_api_key == "sk-1"


def test_a_database_may_have_several_hosts() -> None:
    url = "mysql://u:p@a:1,[::1]:2,c/shop?charset=utf8mb4"

    assert Settings.from_environ({"DATABASE_URL": url}).database_url == url


def test_all_invalid_variables_are_reported_together() -> None:
    problems = problems_of(MAX_STEPS="many", PORT="70000", OPENAI_API="soap", TWELVEFOLD_PORT="1")

    assert problems == (
        "OPENAI_API: 'soap': use responses or chat",
        "MAX_STEPS: 'many': use a whole number, 1 to 100000",
        "PORT: '70000': use a whole number, 0 to 65535",
        "TWELVEFOLD_PORT: unknown variable; did you mean PORT?",
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MAX_STEPS", "1.5", "a whole number"),
        ("MAX_STEPS", "0", "1 to"),
        ("LEASE_S", "nan", "a number"),
        ("LEASE_S", "inf", "a number"),
        ("RUN_BUDGET_USD", "-1", "a number"),
        ("OPENAI_TEMPERATURE", "3", "0 to 2"),
        ("OPENAI_BASE_URL", "api.openai.com", "use https://host or http://host"),
        ("OPENAI_BASE_URL", "https://", "it has no host; use https://host"),
        ("OPENAI_BASE_URL", "https://a:port", "its port is not a number"),
        ("OPENAI_BASE_URL", "https://a:0", "port 0 is invalid"),
        ("OPENAI_BASE_URL", "https://[a", "it is not a URL"),
        ("OPENAI_MODEL", "a\x07b", "printable"),
        ("RELEASE_ID", "a" * 129, "at most 128"),
        ("TRUSTED_PROXIES", "10.0.0.1,proxy", "'proxy' does not appear"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "has host bits set; use addresses or networks"),
        ("TRUSTED_PROXIES", "*", "use addresses or networks"),
        ("TLS_CERT", "a\x07b", "not printable"),
        ("TLS_KEY", "key.pem", "is set, though TLS_CERT is not"),
        ("WORKFLOWS", "shop", "'shop' is not an import path"),
        ("WORKFLOWS", ",", "it has no import path"),
        ("DATABASE_URL", "postgres://a/b", "use mysql://"),
        ("DATABASE_URL", "mysql://a", "it has no database"),
        ("DATABASE_URL", "sqlite://file.db", "three slashes"),
        ("DATABASE_URL", "sqlite://", "it has no file"),
        ("DATABASE_URL", "mysql://a:b#c@d/e", "%23"),
        ("DATABASE_URL", "mysql://u:p@a,b:port/shop", "its port is not a number"),
        ("DATABASE_URL", "mysql://u:p@a:1,b:2", "it has no database"),
    ],
)
def test_an_invalid_value_is_reported_with_a_hint(name: str, value: str, message: str) -> None:
    (problem,) = problems_of(**{name: value})

    assert problem.startswith(f"{name}: ")
    assert message in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "hush hush"),
        ("DATABASE_URL", "mysql://app:hush@db"),
        ("DATABASE_URL", "mysql://app:hush/hush@db/shop"),
        ("DATABASE_URL", "mysql://app:hu[sh@db/shop"),
        ("SMTP_URL", "http://app:hush@db"),
    ],
)
def test_errors_contain_no_secrets(name: str, value: str) -> None:
    (problem,) = problems_of(**{name: value})

    assert "hu" not in problem


def test_an_unknown_variable_with_the_prefix_is_an_error() -> None:
    assert problems_of(TWELVEFOLD_XYZZY="1") == (
        "TWELVEFOLD_XYZZY: unknown variable; `twelvefold settings` lists all variables",
    )


def test_variables_of_the_test_suite_are_ignored() -> None:
    assert Settings.from_environ({"TWELVEFOLD_SHARED": "../shared"}) == Settings()


def test_the_database_url_can_be_set_in_parts() -> None:
    settings = Settings.from_environ(
        {"MYSQL_USER": "a:b", "MYSQL_PASSWORD": "p@/:#", "MYSQL_DATABASE": "shop"}
    )

    assert settings.database_url == (
        "mysql://a%3Ab:p%40%2F%3A%23@127.0.0.1:3306/shop?charset=utf8mb4"
    )


def test_the_server_can_have_an_ipv6_address() -> None:
    settings = Settings.from_environ(
        {"MYSQL_HOST": "::1", "MYSQL_USER": "a", "MYSQL_DATABASE": "shop", "MYSQL_PORT": "1"}
    )

    assert settings.database_url == "mysql://a:@[::1]:1/shop?charset=utf8mb4"


def test_the_database_url_takes_precedence_over_the_parts() -> None:
    given = {"DATABASE_URL": "sqlite:///a.db", "MYSQL_USER": "ann", "MYSQL_HOST": "db"}

    assert Settings.from_environ(given).database_url == "sqlite:///a.db"
    assert unused(given) == ["MYSQL_HOST, MYSQL_USER: not used, since DATABASE_URL is set"]


@pytest.mark.parametrize("given", [{}, {"DATABASE_URL": "sqlite://"}, {"MYSQL_USER": "ann"}])
def test_settings_in_use_cause_no_warning(given: dict[str, str]) -> None:
    assert unused(given) == []


def test_missing_and_invalid_parts_are_reported_together() -> None:
    assert problems_of(MYSQL_PORT="x") == (
        "MYSQL_USER: is not set, though MYSQL_PORT is",
        "MYSQL_DATABASE: is not set, though MYSQL_PORT is",
        "MYSQL_PORT: 'x': use a whole number, 1 to 65535",
    )


def test_web_is_a_worker_on_an_embedded_database_or_if_set() -> None:
    mysql = "mysql://app@db/shop"

    assert Settings().web_is_worker
    assert not Settings(web_drives="foreground").web_is_worker
    assert not Settings(database_url=mysql).web_is_worker
    assert Settings(database_url=mysql, web_drives="background").web_is_worker


def test_a_budget_in_dollars_needs_a_known_price() -> None:
    unknown = {"RUN_BUDGET_USD": "0.5", "OPENAI_API_KEY": "k", "OPENAI_MODEL": "my-own"}

    assert problems_of(**unknown, MAX_STEPS="x") == (
        "MAX_STEPS: 'x': use a whole number, 1 to 100000",
        "RUN_BUDGET_USD: the price of OPENAI_MODEL 'my-own' is unknown; "
        "set OPENAI_PRICE, or use RUN_BUDGET_TOKENS",
    )
    assert Settings.from_environ(unknown | {"OPENAI_MODEL": "gpt-5"}).run_budget_usd == 0.5
    assert Settings.from_environ({"RUN_BUDGET_USD": "0.5"}).model_base_url == ""


def test_with_only_a_key_the_model_server_is_openai() -> None:
    settings = Settings.from_environ({"OPENAI_API_KEY": "k"})

    assert settings.model_base_url == "https://api.openai.com/v1"


def test_each_variable_is_in_the_table_once_with_a_meaning() -> None:
    table = list(list_variables())

    names = [variable.name for variable in table]
    assert len(names) == len(set(names))
    assert all(variable.meaning for variable in table)
    assert {variable.name for variable in MYSQL} < set(names)


def test_every_default_is_a_valid_value() -> None:
    environ = {v.name: v.default for v in list_variables() if v.field}

    assert Settings.from_environ(environ) == Settings()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        ("sk-123", "****"),
        (
            "mysql://app:p@ss@db:3306/shop?charset=utf8mb4",
            "mysql://app:****@db:3306/shop?charset=utf8mb4",
        ),
        ("mysql://app@db/shop", "mysql://app@db/shop"),
        ("https://host/v1?api_key=1&b=2", "https://host/v1?api_key=****&b=2"),
        ("sqlite:///twelvefold.db", "sqlite:///twelvefold.db"),
    ],
)
def test_a_secret_is_masked(value: str, expected: str) -> None:
    assert masked(value) == expected


def test_the_representation_of_settings_has_no_secrets() -> None:
    text = repr(Settings(database_url="mysql://app:p@ss@db/shop", openai_api_key="sk-123"))

    assert text.startswith(
        "Settings(database_url='mysql://app:****@db/shop', database_password_file='', "
        "database_pool_size=10"
    )
    assert "sk-123" not in text


def test_the_example_file_has_every_variable() -> None:
    text = (Path(__file__).resolve().parent.parent / ".env.example").read_text()
    names = set(re.findall(r"^# ([A-Z_]+)=", text, re.MULTILINE))

    assert {variable.name for variable in list_variables()} == {
        name for name in names if not name.startswith("OTEL_")
    }


@pytest.mark.parametrize(
    "text",
    [
        '{"api-key": "abc", "X-Retries": 3}',
        "api-key: abc\nX-Retries: 3",
        " api-key :  abc \r\n\r\n X-Retries:3\n",
    ],
)
def test_headers_are_a_json_object_or_lines(text: str) -> None:
    settings = Settings.from_environ({"OPENAI_HEADERS": text, "OPENAI_PROJECT": "p"})

    assert settings.openai_headers == (("api-key", "abc"), ("X-Retries", "3"))
    assert settings.model_headers == {"OpenAI-Project": "p", "api-key": "abc", "X-Retries": "3"}
    assert "abc" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abc", "use lines of Name: value"),
        ('{"a": ', "it is not JSON"),
        ('{"a": ["b"]}', "the value of a is not a string"),
        ("a b: c", "header 'a b' cannot be set"),
        ("Content-Length: 3", "header 'Content-Length' cannot be set"),
        ("a: \u20ac", "the value of a has a character that is invalid"),
    ],
)
def test_invalid_headers_are_an_error_without_their_values(text: str, message: str) -> None:
    [problem] = problems_of(OPENAI_HEADERS=text)

    assert problem.startswith(f"OPENAI_HEADERS: '****': {message}")


def test_lower_case_proxy_variables_take_precedence() -> None:
    settings = Settings.from_environ(
        {
            "https_proxy": "http://a:3128",
            "HTTPS_PROXY": "http://b:3128",
            "HTTP_PROXY": "http://ann:pw@c:3128",
            "http_proxy": " ",
            "no_proxy": "localhost,.example.org",
        }
    )

    assert (settings.https_proxy, settings.http_proxy, settings.no_proxy) == (
        "http://a:3128",
        "http://ann:pw@c:3128",
        "localhost,.example.org",
    )
    assert "http://ann:****@c:3128" in repr(settings)


def test_almost_correct_names_are_reported() -> None:
    names = ["DATABSE_URL", "MAX_RUN", "LEASE_S", "MYSQL_ROOT_PASSWORD", "OPENAI_ORG", "PATH"]

    assert misspelt(names) == [
        "unknown variable DATABSE_URL; did you mean DATABASE_URL?",
        "unknown variable MAX_RUN; did you mean MAX_RUNS?",
    ]


def test_a_broker_url_is_of_amqp_and_a_secret() -> None:
    settings = Settings.from_environ({"BROKER_URL": "amqps://ann:pw@q/prod"})

    assert settings.broker_url == "amqps://ann:pw@q/prod"
    assert "amqps://ann:****@q/prod" in repr(settings)
    with pytest.raises(SettingsError, match="BROKER_URL: 'redis://q': use amqp://host or amqps"):
        Settings.from_environ({"BROKER_URL": "redis://q"})


# --- secrets in files -----------------------------------------------------------------------------


def test_a_secret_may_be_in_a_file() -> None:
    settings = Settings.from_environ(
        {
            "DATABASE_URL": "mysql://app@a,b/shop",
            "DATABASE_PASSWORD_FILE": "/run/secrets/database",
            "OPENAI_API_KEY_FILE": "/run/secrets/openai",
            "SMTP_URL": "smtp://desk@mail",
            "SMTP_PASSWORD_FILE": "/run/secrets/smtp",
            "BROKER_URL": "amqp://app@broker",
            "BROKER_PASSWORD_FILE": "/run/secrets/broker",
        }
    )

    assert settings.database_password_file == "/run/secrets/database"
    assert settings.model_base_url == "https://api.openai.com/v1"


def test_the_password_of_a_database_in_parts_may_be_in_a_file() -> None:
    settings = Settings.from_environ(
        {"MYSQL_USER": "app", "MYSQL_DATABASE": "shop", "DATABASE_PASSWORD_FILE": "/run/password"}
    )

    assert settings.database_password_file == "/run/password"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"DATABASE_PASSWORD_FILE": "/p", "DATABASE_URL": "mysql://app:hush@a,b/shop"},
            "DATABASE_PASSWORD_FILE: excludes the password of DATABASE_URL or MYSQL_PASSWORD; "
            "set one of the two",
        ),
        (
            {
                "DATABASE_PASSWORD_FILE": "/p",
                "MYSQL_USER": "app",
                "MYSQL_PASSWORD": "hush",
                "MYSQL_DATABASE": "shop",
            },
            "DATABASE_PASSWORD_FILE: excludes the password of DATABASE_URL or MYSQL_PASSWORD; "
            "set one of the two",
        ),
        (
            {"DATABASE_PASSWORD_FILE": "/p"},
            "DATABASE_PASSWORD_FILE: is set, though DATABASE_URL has no user",
        ),
        (
            {"OPENAI_API_KEY_FILE": "/k", "OPENAI_API_KEY": "hush"},
            "OPENAI_API_KEY_FILE: excludes OPENAI_API_KEY; set one of the two",
        ),
        (
            {"SMTP_PASSWORD_FILE": "/p", "SMTP_URL": "smtp://desk:hush@mail"},
            "SMTP_PASSWORD_FILE: excludes the password of SMTP_URL; set one of the two",
        ),
        (
            {"SMTP_PASSWORD_FILE": "/p", "SMTP_URL": "smtp://mail"},
            "SMTP_PASSWORD_FILE: is set, though SMTP_URL has no user",
        ),
        (
            {"BROKER_PASSWORD_FILE": "/p", "BROKER_URL": "amqp://app:hush@broker"},
            "BROKER_PASSWORD_FILE: excludes the password of BROKER_URL; set one of the two",
        ),
        (
            {"BROKER_PASSWORD_FILE": "/p"},
            "BROKER_PASSWORD_FILE: is set, though BROKER_URL has no user",
        ),
    ],
)
def test_a_secret_is_given_once(given: dict[str, str], problem: str) -> None:
    assert problems_of(**given) == (problem,)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql://app@a,b:1/shop?ssl=true", "mysql://app:p%40%2Fs@a,b:1/shop?ssl=true"),
        ("mysql://app:@a/app@shop", "mysql://app:p%40%2Fs@a/app@shop"),
    ],
)
def test_a_password_is_put_into_a_url(url: str, expected: str) -> None:
    assert url_with_password(url, "p@/s") == expected


def test_the_price_of_the_model_is_an_object() -> None:
    price = '{"input": 0.25, "cached": 0.025, "output": 2}'
    unknown = {"RUN_BUDGET_USD": "0.5", "OPENAI_API_KEY": "k", "OPENAI_MODEL": "my-own"}

    settings = Settings.from_environ({**unknown, "OPENAI_PRICE": price})

    assert settings.openai_price == Price(250_000, 25_000, 2_000_000)
    for wrong in ("5", "{", '{"input": 1}'):
        (problem,) = problems_of(OPENAI_PRICE=wrong)
        assert problem.startswith("OPENAI_PRICE: ")
        assert "USD per million tokens" in problem
