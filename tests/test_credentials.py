"""No password and no token leaves an address, in whatever form, and through whatever is printed, stored or shown."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmark.credentials import has_secret, without_secrets
from benchmark.execution.run import _log_to
from benchmark.results.runs import RunFolder, RunRecord
from benchmark.search.cards import SearchCard, clean_card, read_card
from benchmark.search.storage import open_storage
from benchmark.terminal import complain
from benchmark.tracking import content, memory, store
from benchmark.vocabulary import BenchError
from reports.page.sharing import without_folders

SECRET = "hunter2"
FORMS = [
    ("plain", f"postgresql://me:{SECRET}@host:5432/db", "postgresql://me@host:5432/db"),
    ("slash", f"postgresql://me:a/{SECRET}@host/db", "postgresql://me@host/db"),
    ("hash", f"postgresql://me:a#{SECRET}@host/db", "postgresql://me@host/db"),
    ("question mark", f"postgresql://me:a?{SECRET}@host/db", "postgresql://me@host/db"),
    ("at sign", f"mysql+pymysql://me:a@{SECRET}@host/db", "mysql+pymysql://me@host/db"),
    ("escaped at sign", f"postgresql://me:a%40{SECRET}@host/db", "postgresql://me@host/db"),
    ("all signs", f"postgresql://me:/#@%40:{SECRET}@host/db", "postgresql://me@host/db"),
    ("no user", f"redis://:{SECRET}@host/0", "redis://host/0"),
    ("password parameter", f"postgresql://me@host/db?password={SECRET}", "postgresql://me@host/db"),
    ("among others", f"postgresql://h/db?a=1&password={SECRET}&b=2", "postgresql://h/db?a=1&b=2"),
    ("first of others", f"postgresql://h/db?passwd={SECRET}&b=2", "postgresql://h/db?b=2"),
    ("certificate's", f"postgresql://h/db?sslmode=x&sslpassword={SECRET}", "postgresql://h/db?sslmode=x"),
    ("token", f"https://server/path?token={SECRET}", "https://server/path"),
    ("access token", f"https://server/?access_token={SECRET}#top", "https://server/#top"),
    ("fragment", f"https://server/#token={SECRET}", "https://server/"),
    ("upper case", f"postgresql://h/db?PASSWORD={SECRET}", "postgresql://h/db"),
    ("escaped name", f"postgresql://h/db?%70assword={SECRET}", "postgresql://h/db"),
    ("user and parameter", f"mysql://me:x{SECRET}@h/db?ssl_key={SECRET}", "mysql://me@h/db"),
    ("web server's user", f"https://{SECRET}@server:5000/", "https://server:5000/"),
    ("web server's password", f"http://me:{SECRET}@server:5000", "http://server:5000"),
    ("parameter with a sign", f"postgresql://h:1/db?password={SECRET}@{SECRET}", "postgresql://…"),
    ("driver's own string", f"mssql+pyodbc:///?odbc_connect=PWD%3D{SECRET}", "mssql+pyodbc:///"),
]


@pytest.mark.parametrize(("address", "shown"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_an_address_keeps_all_but_its_secrets(address: str, shown: str) -> None:
    assert without_secrets(address) == shown
    assert has_secret(address)
    assert without_secrets(without_secrets(address)) == shown


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me@host:5432/db?sslmode=require&keepalives=1",
        "sqlite:////home/me@work/results/mlflow.db",
        "http://server:5000",
        "https://server/models@2",
        "results/searches/theta.journal",
        "file:///data/a@b:c/x",
    ],
)
def test_an_address_without_secrets_stays_as_it_is(address: str) -> None:
    assert without_secrets(address) == address
    assert not has_secret(address)


@pytest.mark.parametrize("address", [form[1] for form in FORMS], ids=[form[0] for form in FORMS])
def test_no_output_has_a_secret(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    said = f"Cannot reach '{address}' (connection to {address} refused, password={SECRET})."
    folder = RunFolder(tmp_path, "r")
    folder.write_record(RunRecord("r", "failed", "code", said, warnings=(said,)))
    with _log_to(folder):
        logging.getLogger("benchmark.execution.run").warning(said)
    card = tmp_path / "searches" / "theta-1.json"
    card.parent.mkdir()
    card.write_text(json.dumps(asdict(SearchCard("theta", "theta-1", address, False, 1.0))))
    told = read_card(card)
    clean_card(card)
    complain(said)
    memory.Memory(tmp_path, address).save()
    with pytest.raises(BenchError) as refused:
        open_storage(address.replace("postgresql", "postgressql").replace("mysql", "mysqll"))
    outputs = [
        folder.record_file.read_text(),
        folder.log_file.read_text(),
        card.read_text(),
        told.storage,
        capsys.readouterr().err,
        (tmp_path / "mlflow_delivered.json").read_text(),
        str(refused.value),
        str(without_folders({"reason": said}, tmp_path)),
        store.reason(ValueError(f"at {address}: refused"), address),
        *content.parameters({"storage": {"address": address}}).values(),
    ]
    assert [output for output in outputs if SECRET in output] == []
    assert told.has_password


@pytest.mark.parametrize(
    ("address", "quoted"),
    [
        ("postgresql://me:a/b#c@host/db", "a/b#c"),
        ("postgresql://me:a%40b@host/db", "a@b"),
        ("postgresql://host/db?password=abc%20d", "abc d"),
        ("https://abctoken@server/", "abctoken"),
    ],
)
def test_a_secret_that_stands_alone_goes_where_its_address_is_known(address: str, quoted: str) -> None:
    assert without_secrets(f"wrong password {quoted!r}", address) == "wrong password '***'"
