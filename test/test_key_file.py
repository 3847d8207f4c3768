"""Key files: made whole or not at all, never through a link, never over anything."""

from __future__ import annotations

import os
import stat

import pytest

from gsc_ros.cli.main import run
from gsc_ros.link.key_file import KeyFileError, new_key, read_key


def test_a_key_is_made_for_its_owner_alone_whatever_the_umask(tmp_path) -> None:
    before = os.umask(0)
    try:
        new_key(tmp_path / "open.key")
        os.umask(0o777)
        new_key(tmp_path / "shut.key")
    finally:
        os.umask(before)
    for name in ("open.key", "shut.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        assert len(read_key(tmp_path / name)) == 32
    assert read_key(tmp_path / "open.key") != read_key(tmp_path / "shut.key")


def test_a_link_is_not_followed_and_nothing_is_overwritten(tmp_path) -> None:
    (tmp_path / "link.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="never overwritten"):
        new_key(tmp_path / "link.key")
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(KeyFileError, match="never overwritten"):
        new_key(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"
    with pytest.raises(KeyFileError, match="folder"):
        new_key(tmp_path / "nowhere" / "key")


def test_a_full_disk_leaves_no_half_of_a_key(tmp_path, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="No space left"):
        new_key(tmp_path / "link.key")
    assert list(tmp_path.iterdir()) == []


def test_key_files_that_cannot_be_trusted_are_one_clear_line(tmp_path) -> None:
    new_key(tmp_path / "link.key")
    (tmp_path / "link.key").chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key(tmp_path / "link.key")
    with pytest.raises(KeyFileError, match="gsc key"):
        read_key(tmp_path / "none")
    short = tmp_path / "short"
    short.touch(mode=0o600)
    short.write_text("abcd")
    with pytest.raises(KeyFileError, match="a key has 32"):
        read_key(short)
    short.write_text("no key at all")
    with pytest.raises(KeyFileError, match="hexadecimal"):
        read_key(short)


def test_the_command_makes_one_and_says_what_to_do(tmp_path, capsys) -> None:
    assert run(["key", str(tmp_path / "link.key")]) == 0
    assert "chmod 600" in capsys.readouterr().out
    assert len(read_key(tmp_path / "link.key")) == 32
