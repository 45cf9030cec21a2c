"""The verdicts in words: one for each status, told apart without their colours."""

from __future__ import annotations

from dqm_app.verdicts import NOT_JUDGED, words


def test_every_status_has_words_of_its_own():
    assert sorted(words()) == [NOT_JUDGED, 0, 1, 2, 3, 4]
    for part in zip(*words().values(), strict=True):
        assert len(set(part)) == len(words())
        assert all(part)
    assert all(len(wording.sign) == 1 for wording in words().values())
    assert words()[3].key == "bad"


def test_the_worst_comes_first():
    judged = [status for status in words() if status in (0, 1, 2, 3)]
    assert judged == sorted(judged, reverse=True)
