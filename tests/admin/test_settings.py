"""The table of settings."""

from twelvefold.admin.settings import SettingRow, setting_rows


def rows(**environ: str) -> dict[str, SettingRow]:
    return {row.name: row for row in setting_rows(environ)}


def test_a_set_value_replaces_the_default() -> None:
    table = rows(MAX_STEPS=" 7 ", PORT="")

    assert (table["MAX_STEPS"].value, table["MAX_STEPS"].is_set) == ("7", True)
    assert (table["PORT"].value, table["PORT"].is_set) == ("8000", False)
    assert all(row.meaning for row in table.values())


def test_secrets_are_masked() -> None:
    table = rows(
        OPENAI_API_KEY="sk-hush",
        DATABASE_URL="mysql://app:hush@db/shop",
        MYSQL_PASSWORD="hush",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=hush",
        OTEL_EXPORTER_OTLP_ENDPOINT="https://app:hush@collector",
    )

    assert "hush" not in "".join(row.value for row in table.values())
    assert table["DATABASE_URL"].value == "mysql://app:****@db/shop"
    assert table["OTEL_EXPORTER_OTLP_ENDPOINT"].value == "https://app:****@collector"


def test_opentelemetry_variables_are_listed_if_set() -> None:
    assert "OTEL_SERVICE_NAME" not in rows()
    assert rows(OTEL_SERVICE_NAME="desk")["OTEL_SERVICE_NAME"].value == "desk"
