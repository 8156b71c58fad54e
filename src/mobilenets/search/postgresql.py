"""A study in PostgreSQL. What is shown of an address never holds its password."""

from __future__ import annotations

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage

from mobilenets.errors import MissingExtraError, MisuseError, StudyError
from mobilenets.search.ledger import one_line

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
TIMEOUT_S = 10
MAKING_TABLES = 1807_11626  # an advisory lock of ours: workers that start at once make the tables one after another


def open_postgresql(address: str) -> tuple[BaseStorage, str]:
    """The storage behind `postgresql://user:password@host:port/database`, and what to call it.

    Raises:
        MisuseError: the address cannot be read.
        MissingExtraError: psycopg is not installed.
        StudyError: the database cannot be reached, or refuses.
    """
    url = _read(address)
    where = shown(url)
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("psycopg", "postgresql", purpose=f"the study in {where}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options = {"connect_args": {"connect_timeout": TIMEOUT_S}, "pool_pre_ping": True}
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=options["connect_args"])
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"select pg_advisory_xact_lock({MAKING_TABLES})"))
            storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=options)
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise StudyError(f"{where} cannot be reached: {_without(url, one_line(error))}") from None
    return optuna.storages.get_storage(storage), where


def _read(address: str) -> sqlalchemy.URL:
    try:
        url = sqlalchemy.make_url(address)
        if url.drivername not in SCHEMES or not url.database:
            raise ValueError
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise MisuseError(
            "the address of the database cannot be read: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
            "with signs such as @ and / in the password written as %40 and %2F."
        ) from None
    return url.set(drivername="postgresql+psycopg")


def shown(url: sqlalchemy.URL) -> str:
    """Host and database, without user, password and options."""
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{url.host or 'localhost'}{port}/{url.database}"


def _without(url: sqlalchemy.URL, text: str) -> str:
    secrets = [str(url.password)] if url.password else []
    secrets += [str(value) for name, value in url.query.items() if "pass" in name]
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
