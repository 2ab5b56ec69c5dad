"""One secret, the same keys everywhere; its text survives copying, and damage is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster.errors import EXIT_KEY_REFUSED, KeyRefused
from taskmaster.transport import keys

SECRET = bytes(range(32))
SECRETS = st.binary(min_size=32, max_size=32)


def test_what_is_derived_never_changes() -> None:
    """Masters and slaves of different releases have to agree."""
    found = keys.derive(SECRET, "here")
    assert keys.to_text(SECRET) == "taskmaster-key-1.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8.c450978e"
    assert (found.origin, found.name) == ("here", "6b60c259")
    assert found.master.public == b'HlF=x{X#}y2]ohw@Ks#:a[RJ8=%H#+3y7fKZYvB('
    assert found.slave.public == b'mCCC0R/}qWAg:xqrb@B+a/U3h^vt+pJ=df1r0-BA'


@given(SECRETS, SECRETS)
def test_each_secret_has_keys_of_its_own_and_each_end_another(one: bytes, other: bytes) -> None:
    first, second = keys.derive(one, ""), keys.derive(other, "")
    assert len({first.master.public, first.slave.public, first.master.secret, first.slave.secret}) == 4
    assert (first == second) is (one == other)


@given(SECRETS)
def test_a_secret_comes_back_from_its_text(secret: bytes) -> None:
    text = keys.to_text(secret)
    assert keys.from_text(text, "") == keys.from_text(f" {text}\r\n", "") == secret
    assert text.isprintable() and not set(text) & set(" $`\"'\\!*?~#&|;<>()[]{}\n")


@given(SECRETS, st.integers(0, 68), st.characters(codec="ascii"))
def test_a_text_with_a_wrong_character_is_no_key(secret: bytes, at: int, other: str) -> None:
    text = keys.to_text(secret)
    changed = text[:at] + other + text[at + 1:]
    if changed.strip() != text:
        with pytest.raises(KeyRefused):
            keys.from_text(changed, "")


def test_a_key_has_one_spelling() -> None:
    """The last character of base64 has bits to spare, which its reader drops."""
    with pytest.raises(KeyRefused, match="damaged"):
        keys.from_text(keys.to_text(SECRET).replace("Hh8.", "Hh9."), "")


@pytest.mark.parametrize("text, says", [
    ("", "not contain a key"), ("secret", "not contain a key"), (keys.to_text(SECRET)[:-1], "not contain a key"),
    (keys.to_text(SECRET) * 2, "not contain a key"), ("\0" * 32, "not contain a key"),
    (keys.to_text(SECRET).replace("AAEC", "AAED"), "checksum"),
    (keys.to_text(SECRET).replace("key-1", "key-2"), "newer Taskmaster"),
])
def test_what_is_no_key_is_refused_with_the_place_it_is_in(text: str, says: str) -> None:
    with pytest.raises(KeyRefused, match=says) as caught:
        keys.from_text(text, "/some/key")
    assert "/some/key" in str(caught.value) and caught.value.exit_code == EXIT_KEY_REFUSED
    assert "AAE" not in str(caught.value), "the message shows the key"


def test_a_printed_key_shows_no_secret() -> None:
    found = keys.derive(SECRET, "here")
    assert found.master.secret.decode() not in repr(found) and found.slave.secret.decode() not in repr(found)


@pytest.mark.parametrize("base, expected", [
    ("/etc/mine", "/etc/mine/taskmaster/key"), ("", "/home/me/.config/taskmaster/key"),
    ("relative", "/home/me/.config/taskmaster/key")])
def test_the_file_is_where_configuration_is_kept(base: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert keys.default_path({"XDG_CONFIG_HOME": base}) == Path(expected)


def test_a_user_without_a_home_is_told_what_else_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(KeyRefused, match="--key-file"):
        keys.default_path({})


def test_the_text_itself_may_be_given_and_a_named_file_goes_before_it(tmp_path: Path) -> None:
    given_text = {keys.VARIABLE: keys.to_text(SECRET)}
    assert keys.find(None, given_text) == keys.derive(SECRET, keys.VARIABLE)
    assert keys.find(tmp_path / "missing", given_text) is None
