"""What comes from a wire or a file cannot command a terminal, forge a line of a log, or be shown in another order."""

from __future__ import annotations

import json
import os
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from gsc_ros.cli.main import run
from gsc_ros.printable import printable

HOSTILE = "a \x1b[2J\x1b]0;owned\x07 gate\r\n[INFO] all is well \x9b31m\u202egpj.exe\u2066\u200f\u061c\u2028 end"


@given(st.text(st.characters(codec=None)))
def test_whatever_the_text_nothing_in_it_acts(text) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    kinds = {unicodedata.bidirectional(character) for character in shown}
    assert not kinds & {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not set(shown) & set("\u200e\u200f\u061c")
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1


def test_plain_text_of_any_script_stays_as_it_is() -> None:
    for text in (
        "a road in fog",
        "brücke, naïve café",
        "مركبة عند البوابة",
        "רכב",
        "路上的卡车",
        "👩‍🚀 🇪🇺",
        "a\\b",
        "\xa0",
    ):
        assert printable(text) == text
    assert printable(7) == "7"
    assert printable("\x1b\x7f\x9b\u202e\udc80") == "\\x1b\\x7f\\x9b\\u202e\\udc80"


def test_a_hostile_caption_in_a_packet(photograph, tmp_path, capsys) -> None:
    import cv2

    picture, packet, out = (str(tmp_path / name) for name in ("view.png", "view.gsc", "out.png"))
    cv2.imwrite(picture, photograph[:96, :96])
    assert run(["encode", picture, packet, "--caption", HOSTILE]) == 0
    for arguments in (["inspect", packet], ["decode", packet, out]):
        capsys.readouterr()
        assert run(arguments) == 0
        shown = capsys.readouterr().out
        assert "\\x1b[2J" in shown
        assert "\\u202egpj.exe" in shown
        for line in shown.splitlines():
            assert printable(line) == line
            assert not line.startswith("[INFO]")
        # A script is given the caption as it is.
        assert run([*arguments, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["caption"] == HOSTILE


def test_a_hostile_name_in_an_error(tmp_path, capsys) -> None:
    name = os.fsdecode(os.fsencode(str(tmp_path)) + b"/\x1b[2J\xff\xe2\x80\xae.gsc")
    for arguments in (["inspect", name], ["decode", name, "out.png"], ["inspect", name, "\x1b[2J"]):
        assert run(arguments) in (1, 2)
        error = capsys.readouterr().err
        assert error.startswith("gsc: ")
        assert error.count("\n") == 1
        assert printable(error[:-1]) == error[:-1]
        assert "\\x1b[2J" in error


def test_a_server_that_does_not_caption_is_one_line(photographs, tmp_path, capsys) -> None:
    arguments = ["--url", "http://127.0.0.1:9/v1", "--model", "m", "--out", str(tmp_path / "captions.jsonl")]
    assert run(["caption", str(photographs), *arguments]) == 1
    error = capsys.readouterr().err
    assert error.strip().splitlines()[-1].startswith("gsc: http://127.0.0.1:9/v1/chat/completions does not answer")
    assert "Traceback" not in error
