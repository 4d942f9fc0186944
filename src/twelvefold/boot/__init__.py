"""The only place that reads the environment and chooses services: settings in, services out."""

from twelvefold.boot.database import (
    SCHEMA,
    SERVES,
    VERSION_TABLE,
    check_database,
    commit,
    embedded_file,
    journal_sql,
    migrate_journal,
    release_of,
    report_hosts,
    schema_problem,
    this_release,
)
from twelvefold.boot.environment import RandomIds, now_us, read_environment
from twelvefold.boot.metrics import open_metrics
from twelvefold.boot.models import uses_default_model
from twelvefold.boot.secrets import with_password
from twelvefold.boot.services import (
    NoModel,
    open_broker,
    open_mailer,
    open_services,
    request_model_list,
)
from twelvefold.boot.workflows import load_workflows

__all__ = [
    "SCHEMA",
    "SERVES",
    "VERSION_TABLE",
    "NoModel",
    "RandomIds",
    "check_database",
    "commit",
    "embedded_file",
    "journal_sql",
    "load_workflows",
    "migrate_journal",
    "now_us",
    "open_broker",
    "open_mailer",
    "open_metrics",
    "open_services",
    "read_environment",
    "release_of",
    "report_hosts",
    "request_model_list",
    "schema_problem",
    "this_release",
    "uses_default_model",
    "with_password",
]
