"""The attached message broker: `rabbitmq` sends and receives wake-ups over RabbitMQ."""

from typing import TYPE_CHECKING

from twelvefold.errors import SettingsError

if TYPE_CHECKING:
    from twelvefold.secret_file import SecretFile
    from twelvefold.services.broker.rabbitmq import RabbitMQWakeUps


def open_wake_ups(
    *, broker_url: str, database: str, ca_file: str = "", password: "SecretFile | None" = None
) -> "RabbitMQWakeUps":
    """Return the wake-ups of a broker, `amqp://` or `amqps://`. They connect on first use.

    `database` is the name of the database; processes of the same database find each other by it.
    `password` replaces that of the URL. Raises SettingsError if the extra is not installed, or if
    `ca_file` or the file of the password cannot be read.
    """
    try:
        from twelvefold.services.broker.rabbitmq import RabbitMQWakeUps
    except ModuleNotFoundError as error:
        if error.name != "aio_pika":
            raise
        raise SettingsError(
            "BROKER_URL: package aio-pika is not installed; run `pip install twelvefold[rabbitmq]`"
        ) from error
    return RabbitMQWakeUps(broker_url, database, ca_file, password)
