"""Who sent an SMS, and which office its first word calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import settings
from pipelines.contracts import Stream
from pipelines.errors import SettingsError
from pipelines.settings import default_models_dir
from pipelines.sources.sms_head import code_of, codes_of, sender_of
from pipelines.transforms.normalise import author, phone

CODES = {"TANGKAB": "Pemerintah Kabupaten Tangerang", "DKI": "Pemprov"}


@pytest.mark.parametrize(
    ("raw", "ref", "number"),
    [
        ("+6281200000001", "+6281200000001", "+6281200000001"),
        ("whatsapp:+6281200000001", "+6281200000001", "+6281200000001"),
        ("tel:+62-812-0000-0001", "+62-812-0000-0001", "+62-812-0000-0001"),
        ("WhatsApp: 081200000001", "081200000001", "081200000001"),
        ("0062 812 0000 0001", "0062 812 0000 0001", "0062 812 0000 0001"),
        ("1708", "1708", None),
        ("112", "112", None),
        ("TELKOMSEL", "TELKOMSEL", None),
        ("BANK-DKI 3", "BANK-DKI 3", None),
        ("  ", None, None),
        ("tel:", None, None),
        (None, None, None),
    ],
)
def test_a_sender_stays_as_the_network_names_it(raw: str | None, ref: str | None, number: str | None) -> None:
    assert sender_of(raw) == (ref, number)


def test_a_citizen_is_one_author_by_every_way_of_writing_the_number() -> None:
    written = [
        "+6281200000001",
        "whatsapp:+6281200000001",
        "tel:+62-812-0000-0001",
        "0062 812 0000 0001",
        "081200000001",
    ]
    assert {author(sender_of(raw).ref) for raw in written} == {"+6281200000001"}
    assert {phone(sender_of(raw).phone) for raw in written} == {"+6281200000001"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("TANGKAB jalan rusak", "TANGKAB"),
        ("tangkab  jalan rusak", "TANGKAB"),
        (" Dki#Budi#jalan rusak", "DKI"),
        ("DKI # jalan rusak", "DKI"),
        ("DKI\njalan rusak", "DKI"),
        ("DKI", None),
        ("DKI ", None),
        ("DKI, jalan rusak", None),
        ("DKIJakarta jalan rusak", None),
        ("jalan DKI rusak", None),
        ("", None),
    ],
)
def test_a_code_is_a_first_word_with_something_behind_it(text: str, code: str | None) -> None:
    assert code_of(text, CODES) == code


@given(st.text())
def test_whatever_a_text_is_its_code_is_one_of_the_known(text: str) -> None:
    assert code_of(text, CODES) in (None, *CODES)
    assert code_of(text, {}) is None


@pytest.mark.parametrize("codes", ["lapor_1708", {"dki": "Pemprov"}, {"DKI": ""}, {"DKI": 3}, ["DKI"]])
def test_codes_that_are_none_are_told(codes: object) -> None:
    with pytest.raises(SettingsError, match="sms/a: codes must name"):
        codes_of(Stream("sms", "a", "sms", {"codes": codes}))


def test_a_stream_names_a_set_of_the_models_and_lands_with_it(tmp_path) -> None:  # type: ignore[no-untyped-def]
    toml = tmp_path / "kanal.toml"
    models = default_models_dir()
    head = (
        f'[kanal]\nmodels_dir = "{models}"\n[[stream]]\nchannel = "sms"\nname = "a"\nsource = "sms"\ndatabase = "a"\n'
    )
    toml.write_text(head + 'codes = "lapor_1708"\n')
    [stream] = settings.load(toml).streams
    assert codes_of(stream) == {"TANGKAB": "Pemerintah Kabupaten Tangerang"}
    toml.write_text(head + 'codes = "lapor_1945"\n')
    with pytest.raises(SettingsError, match="codes 'lapor_1945' is not one of lapor_1708"):
        settings.load(toml)
