"""Nothing came for how long, and is that longer than usual?"""

from __future__ import annotations

from gsc_ros.nodes.silence import Silence


def test_a_silence_is_measured_by_the_rhythm_before_it() -> None:
    silence = Silence(10.0)
    assert silence.seconds(5.0) is None
    assert not silence.too_long(1e6)  # nothing ever came: that is said in other words
    for now in (100.0, 100.5, 101.0):
        silence.heard(now)
    assert silence.seconds(104.0) == 3.0
    assert not silence.too_long(110.9)
    assert silence.too_long(111.1)
    silence.heard(161.0)  # a slow one: one in a minute is no silence
    assert not silence.too_long(400.0)
    assert silence.too_long(161.0 + 301.0)
