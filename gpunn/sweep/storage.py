"""The database that a sweep is kept in: a file of SQLite, or a server that several machines share."""

from __future__ import annotations

import contextlib
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from gpunn.errors import DataError, UsageError, quoted, shortened

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

_SCHEMES = ("sqlite", "postgresql", "mysql")
# What SQLAlchemy uses for a scheme without a driver's name, and the package that has it.
_DRIVERS = {
    "psycopg2": "psycopg2-binary",
    "psycopg": "'psycopg[binary]'",
    "MySQLdb": "mysqlclient",
    "pymysql": "PyMySQL",
}
_WAIT = 60  # seconds for another process of this machine to end its transaction in a file of SQLite
_HEARTBEAT = 60  # seconds; a trial that has not been heard of for twice as long is repeated by another machine


def need_optuna() -> None:
    """Raise UsageError where Optuna is missing."""
    try:
        import optuna  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError as error:
        raise UsageError(f"gpunn sweep needs Optuna ({error}): pip install 'gpunn[sweep]'.") from error


def check_url(url: str) -> None:
    """Refuse what is no database's URL.

    Raises
    ------
    UsageError
        The message has no password in it.
    """
    scheme, colon, rest = url.partition("://")
    if scheme.partition("+")[0] not in _SCHEMES or not colon or not rest.strip("/"):
        raise UsageError(
            "--storage: expected sqlite:///FILE, postgresql://USER@HOST/DATABASE or mysql+pymysql://USER@HOST/NAME; "
            f"got {quoted(hidden(url), 80)}."
        )


def hidden(url: str) -> str:
    """The URL without its password and its options, which may hold one."""
    return re.sub(r"((?:^|://)[^:/@]*):(?!//).*@", r"\1:***@", url.partition("?")[0])


def file_url(path: Path) -> str:
    """The URL of a file of SQLite."""
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path.resolve())).render_as_string()


def open_storage(url: str, shared: bool) -> RDBStorage:
    """Connect to the database, and make its tables if there are none.

    Parameters
    ----------
    url : str
    shared : bool
        Whether other machines may use it too: then this one says once a minute that a running trial is alive.

    Raises
    ------
    UsageError
        If it cannot be reached or used, or its driver is missing; the message has no password in it.
    DataError
        If its tables are another version's of Optuna.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    options: dict[str, Any] = {}
    if url.startswith("sqlite"):
        options["connect_args"] = {"timeout": _WAIT}
    with _opening(url), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*heartbeat_interval.*experimental")
        # Optuna fills in braces as str.format does.
        escaped = url.replace("{", "{{").replace("}", "}}")
        for wait in (0.5, 1.0, 2.0):
            try:
                return RDBStorage(escaped, options, heartbeat_interval=_HEARTBEAT if shared else None)
            except (IntegrityError, ProgrammingError):  # another machine makes the same tables in this moment
                time.sleep(wait)
        return RDBStorage(escaped, options, heartbeat_interval=_HEARTBEAT if shared else None)


@contextlib.contextmanager
def reaching(url: str) -> Iterator[None]:
    """Tell of a database that fails within the block, without its password.

    Raises
    ------
    UsageError
        If it cannot be reached or used.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        inner: BaseException = error
        while inner.__cause__ is not None:
            inner = inner.__cause__
        said = shortened(_without_secrets(str(getattr(inner, "orig", None) or inner), url), 240)
        # Not "from error": with a traceback its text would show the password.
        said += "" if said.endswith("?") else "."
        raise UsageError(f"{_where(url)}: {said} Check address, user, password and rights.") from None


@contextlib.contextmanager
def _opening(url: str) -> Iterator[None]:
    """The same, also for what is missing or does not fit when a database is opened."""
    try:
        with reaching(url):
            yield
    except ImportError as error:
        name = getattr(error.__cause__, "name", None)
        package = _DRIVERS.get(str(name), name)
        raise UsageError(
            f"{_where(url)}: the driver of this database is missing ({error.__cause__}): pip install {package}."
        ) from None
    except RuntimeError as error:  # the tables are not what this version of Optuna makes
        raise DataError(f"{_where(url)}: was written by another version of Optuna: {shortened(error, 240)}") from None


def _where(url: str) -> str:
    return f"--storage {shortened(hidden(url), 120)}"


def _without_secrets(text: str, url: str) -> str:
    """A driver's message as one line, without what the URL keeps secret."""
    found = re.search(r"://[^:/@]*:(.*)@", url.partition("?")[0])
    secrets = [found[1]] if found else []
    secrets += [value for part in url.partition("?")[2].split("&") for value in [part.partition("=")[2]]]
    for secret in sorted({s for raw in secrets for s in (raw, unquote(raw)) if s}, key=len, reverse=True):
        text = text.replace(secret, "***")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:2]).rstrip(".")
