"""kanal.toml and the environment: what an operator sets, checked, with the key at fault named."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import settings
from pipelines.contracts import Stream
from pipelines.errors import SettingsError
from pipelines.settings import Alerts, Settings, load, secret
from tests.conftest import SAMPLES


def made(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "kanal.toml"
    path.write_text(text, "utf-8")
    return load(path)


def test_an_empty_file_gives_every_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KANAL_DATA_DIR", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert made(tmp_path, "") == Settings(
        path=tmp_path / "kanal.toml", data_dir=tmp_path / "data", models_dir=settings.default_models_dir(), streams=(),
        registry_overlays=(), workers=3, group_rows=50_000, snapshot_minutes=10, snapshots_kept=3, crm_url_env=None,
        every_minutes=5, alerts=Alerts(),
    )  # fmt: skip


def test_paths_start_at_the_file_and_streams_keep_their_sources_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KANAL_DATA_DIR", raising=False)
    found = made(
        tmp_path,
        '[kanal]\ndata_dir = "../store"\nregistry = ["kota.toml"]\n[alerts]\nsmtp_host = "127.0.0.1"\nto = ["ops@example.com"]\n'
        '[[stream]]\nchannel = "email"\nname = "dki"\nsource = "imap"\nhost = "127.0.0.1"\npassword_env = "KANAL_X"\n',
    )
    assert found.data_dir == tmp_path.parent / "store"
    assert found.registry_overlays == (tmp_path / "kota.toml",)
    assert found.alerts == Alerts(smtp_host="127.0.0.1", recipients=("ops@example.com",))
    assert found.streams == (
        Stream("email", "dki", "imap", {"host": "127.0.0.1", "password_env": "KANAL_X"}, str(tmp_path)),
    )
    assert [s.key for s in found.streams_of("email")] == [s.key for s in found.streams_of("email/dki")] == ["email/dki"]


def test_the_environment_says_where_data_lies_and_which_file_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KANAL_DATA_DIR", str(tmp_path / "elsewhere"))
    assert made(tmp_path, "").data_dir == tmp_path / "elsewhere"
    monkeypatch.setenv("KANAL_CONFIG", str(tmp_path / "kanal.toml"))
    assert settings.find() == tmp_path / "kanal.toml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[kanal]\nworkers = 0\n", "workers must be a whole number from 1 to 64"),
        ("[kanal]\nworkers = true\n", "workers must be a whole number"),
        ("[snapshot]\nkeep = 1.5\n", "keep must be a whole number from 1 to 100, not 1.5"),
        ("[kanal]\ndata_dir = 5\n", r"data_dir in \[kanal\] must be a text"),
        ("[kanal]\nmodels_dir = 5\n", r"models_dir in \[kanal\] must be a text"),
        ("[kanal]\nregistry = 'x.toml'\n", r"registry in \[kanal\] must be a list"),
        ("[alerts]\nto = 'ops@example.com'\n", r"to in \[alerts\] must be a list"),
        ("[alerts]\nwebhook_env = 5\n", r"webhook_env in \[alerts\] must be the name of an environment variable"),
        ("[crm]\nurl_env = 5\n", r"url_env in \[crm\] must be the name of an environment variable"),
        ("[intake]\nmonitors = ['sini']\n", r"monitors in \[intake\]: 'sini'"),
        ("[intake]\ntrusted_proxies = '127.0.0.1'\n", r"trusted_proxies in \[intake\] must be a list"),
        ("[intake]\npublic_url = 'masuk.example.id'\n", r"public_url in \[intake\] must be as https://"),
        ("[intake]\nper_second = 0\n", "per_second must be a number from 0.1"),
        ('[[stream]]\nchannel = "a"\nname = "b"\nsource = "webhook"\ndialect = "x"\n', "a/b: dialect 'x' is not one of jasmin, json"),
        ("crm = 5\n", r"crm must be a section, written \[crm\]"),
        ("[stream]\nchannel = 'a'\n", r"write each stream as \[\[stream\]\]"),
        ("[[stream]]\nchannel = 'a'\nname = 'b'\nsource = 'imap'\ntoken_env = 5\n", r"token_env in \[\[stream\]\] number 1"),
        ("[media]\nfetch = 1\n", r"fetch in \[media\] must be true or false"),
        ("[media]\nallow = 'pbs.twimg.com'\n", r"allow in \[media\] must be a list"),
        ("[media]\nallow = ['https://pbs.twimg.com']\n", r"host names alone, as pbs.twimg.com, not 'https"),
        ("[media]\nallow = ['localhost']\n", "host names alone"),
        ("[media]\nallow = ['127.0.0.1']\n", "host names alone"),
        ("[media]\nallow = ['*.twimg.com']\n", "host names alone"),
        ("[media]\nlogins = {'api.twilio.com' = 'X'}\n", "names api.twilio.com, which allow does not"),
        ("[media]\nallow = ['api.twilio.com']\nlogins = {'api.twilio.com' = 7}\n", r"logins in \[media\] must be as"),
        ("[media]\nmax_bytes = 25000001\n", "max_bytes must be a whole number from 1 to 25000000"),
        ("[snapshots]\n", "unknown key 'snapshots'"),
        ("[alerts]\npassword = 'x'\n", "unknown key 'password'"),
        ('[[stream]]\nchannel = "a"\nname = "b"\nsource = "imap"\n' * 2, "stream a/b is there twice"),
        ('[[stream]]\nchannel = "../a"\nname = "b"\nsource = "imap"\n', "may hold a-z"),
        ("[[stream]]\nchannel = 'A'\nname = 'b'\nsource = 'imap'\n", "may hold a-z"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        made(tmp_path, text)


@pytest.mark.parametrize("name", ["fax", "feedback", "decisions", "fetched", "http", "../cli"])
def test_a_source_is_a_module_that_pulls_and_lists_its_options_and_an_error_names_them_all(
    tmp_path: Path, name: str
) -> None:
    known = "export, facebook, feed, form, imap, letters, playsms, sms, twitter, webhook"
    with pytest.raises(SettingsError, match=f"source '{name}' is not one of {known}$"):
        made(tmp_path, f'[[stream]]\nchannel = "a"\nname = "b"\nsource = "{name}"\n')


def test_a_folder_is_no_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KANAL_CONFIG", str(tmp_path))
    for path in (tmp_path, None):
        with pytest.raises(SettingsError, match="cannot be read .*--config names a file"):
            load(path)


def test_minutes_between_snapshots_may_be_broken(tmp_path: Path) -> None:
    assert made(tmp_path, "[snapshot]\nmin_interval_minutes = 0.5\n").snapshot_minutes == 0.5


def test_a_secret_is_only_ever_the_name_of_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KANAL_TEST_SECRET", "rahasia")
    assert secret("KANAL_TEST_SECRET", what="kunci") == "rahasia"
    for name, words in ((None, "name the environment variable"), ("KANAL_TEST_NONE", "KANAL_TEST_NONE is not set")):
        with pytest.raises(SettingsError, match=words):
            secret(name, what="kunci")


def test_the_samples_settings_are_good_and_every_channel_of_theirs_is_registered() -> None:
    from pipelines import knowledge

    found = load(SAMPLES / "kanal.toml")
    registry = knowledge.channels(found)
    assert len(registry) == 16
    assert {s.channel for s in found.streams} == set(registry)


def test_a_webhook_stream_carries_its_dialect_and_an_overlay_goes_before_ours(tmp_path: Path) -> None:
    (tmp_path / "dialek.toml").write_text(
        '[[dialect]]\nid = "kannel"\nname = "Lain"\n[[dialect]]\nid = "baru"\n', "utf-8"
    )
    entry = '[[stream]]\nchannel = "sms"\nname = "{0}"\nsource = "webhook"\ndialect = {1}\n'
    streams = "".join(
        entry.format(*s) for s in (("a", '"kannel"'), ("b", '"baru"'), ("c", '"json"'), ("d", '{id = "x"}'))
    )
    found = made(tmp_path, f'[kanal]\ndialects = ["dialek.toml"]\n{streams}').streams
    assert [s.options["dialect"].get("name") for s in found] == ["Lain", None, "JSON, for partner systems", None]
    assert found[3].options["dialect"] == {"id": "x"}


def test_a_dialect_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    entry = '[kanal]\ndialects = ["dialek.toml"]\n[[stream]]\nchannel = "a"\nname = "b"\nsource = "webhook"\ndialect = "json"\n'
    with pytest.raises(SettingsError, match=r"dialek.toml cannot be read"):
        made(tmp_path, entry)
    (tmp_path / "dialek.toml").write_text("[[dialect]]\nname = 'x'\n", "utf-8")
    with pytest.raises(SettingsError, match=r"dialek.toml: write each dialect as \[\[dialect\]\] with an id"):
        made(tmp_path, entry)


def test_channels_may_have_minutes_of_their_own(tmp_path: Path) -> None:
    found = made(tmp_path, "[schedule]\nchannels = {email = 1, twitter = 15}\n")
    assert (found.every_minutes, found.channel_minutes) == (5, {"email": 1, "twitter": 15})
    for wrong in ("{email = 0}", "{email = 1.5}", "{email = 61}", "[1]", '"email"'):
        with pytest.raises(SettingsError, match=r"email|channels in \[schedule\]"):
            made(tmp_path, f"[schedule]\nchannels = {wrong}\n")
