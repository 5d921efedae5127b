"""The URL of a sweep's database: what is refused, and that no password is told."""

from __future__ import annotations

import sqlite3
import traceback
from pathlib import Path
from typing import Any

import pytest

from gpunn.errors import UsageError
from gpunn.sweep.storage import check_url, file_url, hidden, open_storage, reaching

pytest.importorskip("optuna", reason="sweeps need Optuna: pip install 'gpunn[sweep]'")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:s3c:r@et@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://host/db?user=me&password=s3cret", "postgresql://host/db"),
        ("mysql+pymysql://me:s3cret@host/db", "mysql+pymysql://me:***@host/db"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("me:s3cret@host", "me:***@host"),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert hidden(url) == shown


@pytest.mark.parametrize("url", ["redis://me:s3cret@host", "me:s3cret@host/db", "postgresql://", "a.db", "sqlite:/"])
def test_what_is_no_database(url: str) -> None:
    with pytest.raises(UsageError, match="--storage: expected sqlite:///FILE, postgresql://USER@HOST") as raised:
        check_url(url)
    assert "s3cret" not in str(raised.value)


def test_a_failing_servers_message_has_no_password_in_it() -> None:
    from sqlalchemy.exc import OperationalError

    url = "postgresql://me:s3%40cret@host/db?sslpassword=t0ken"
    said = Exception('connection to "host", user "me", password "s3@cret", t0ken (s3%40cret) failed\n\tIs it running?')
    with pytest.raises(UsageError) as raised, reaching(url):
        raise OperationalError("SELECT 1", {}, said)
    assert "--storage postgresql://me:***@host/db: connection to" in str(raised.value)
    assert "Is it running?" in str(raised.value)
    whole = "".join(traceback.format_exception(raised.value))
    assert not [secret for secret in ("s3%40cret", "s3@cret", "t0ken") if secret in whole.split("Error: ", 1)[1]]


def test_what_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none/a\.db: unable to open database file\. Check address"):
        open_storage(file_url(tmp_path / "none" / "a.db"), False)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"no database, but long enough to be looked at" * 30)
    with pytest.raises(UsageError, match=r"a\.db: file is not a database"):
        open_storage(file_url(path), False)


def test_a_driver_that_is_missing() -> None:
    pytest.importorskip("sqlalchemy")
    try:
        import psycopg2  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match=r"the driver of this database is missing .*pip install psycopg2-binary"):
            open_storage("postgresql+psycopg2://me:s3cret@host/db", True)
    else:
        pytest.skip("the driver is installed")


def test_machines_that_begin_at_once_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna
    from sqlalchemy.exc import IntegrityError

    right, waits = optuna.storages.RDBStorage, list[float]()

    def late(*args: Any, **options: Any) -> Any:
        if len(waits) < 2:
            raise IntegrityError("CREATE TABLE", {}, Exception("the other one was faster"))
        return right(*args, **options)

    monkeypatch.setattr(optuna.storages, "RDBStorage", late)
    monkeypatch.setattr("time.sleep", waits.append)
    open_storage(file_url(tmp_path / "a.db"), False).engine.dispose()
    assert waits == [0.5, 1.0]
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    waits.clear()
    with pytest.raises(UsageError, match="the other one was faster"):
        open_storage(file_url(tmp_path / "a.db"), False)


@pytest.mark.parametrize("quoting", [True, False])
def test_a_path_with_characters_that_mean_something_in_urls(quoting: bool, tmp_path: Path) -> None:
    path = tmp_path / ("a {b} %20 ?c" if quoting else "a {b} c") / "study.sqlite3"
    path.parent.mkdir()
    storage = open_storage(file_url(path) if quoting else f"sqlite:///{path}", False)
    storage.engine.dispose()
    with sqlite3.connect(path) as connection:
        assert connection.execute("select count(*) from trials").fetchone() == (0,)
    connection.close()
