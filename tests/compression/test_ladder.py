"""The ladder's rule, without networks: what is tried on what, which rung wins, when it stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mobilenets.compression.ladder import Rung, Score, Technique, Try, climb, judged

FLOAT = 0.90
SCORES = {"a": 0.70, "ab": 0.85, "abc": 0.60, "abd": 0.895, "abde": 0.893}


def adding(*letters: str) -> Technique[str]:
    def technique(made: str) -> Iterator[Try[str]]:
        for letter in letters:
            yield Try(letter, f"adds {letter}", made + letter)

    return technique


def absent(made: str) -> Iterator[Try[str]]:
    yield Try("absent", "has nothing to do", None, "not here")


def judge_of(more: dict[str, float]) -> Callable[[Try[str]], Rung]:
    scores = SCORES | more

    def told(attempt: Try[str]) -> Rung:
        score = None if attempt.made is None else Score(scores[attempt.made], 1.0, 100)
        return judged(attempt, score, FLOAT, 0.01, 0.5)

    return told


def test_each_technique_builds_on_the_best_and_the_first_to_pass_ends_it() -> None:
    seen: list[str] = []
    techniques = [adding("a"), adding("b", "c"), absent, adding("d"), adding("e")]
    climbed = climb("", techniques, judge_of({"ac": 0.60}), on_rung=lambda rung: seen.append(rung.name))
    assert seen == ["a", "b", "c", "absent", "d"]
    assert climbed.best.name == "d" and climbed.best.passed and climbed.made == "abd"
    assert climbed.rungs[3].score is None and climbed.rungs[3].note == "not here"


def test_all_of_them_and_the_best_that_passes_wins() -> None:
    climbed = climb("", [adding("a"), adding("b"), adding("d"), adding("e")], judge_of({"abde": 0.899}), every=True)
    assert [rung.name for rung in climbed.rungs] == ["a", "b", "d", "e"]
    assert climbed.best.name == "e"
    worse = climb("", [adding("a"), adding("b"), adding("d"), adding("e")], judge_of({}), every=True)
    assert worse.best.name == "d" and worse.made == "abd"


def test_where_none_passes_the_best_is_told_but_does_not_pass() -> None:
    climbed = climb("", [adding("a"), adding("b"), absent], judge_of({}))
    assert climbed.best.name == "b" and not climbed.best.passed


def test_a_drop_is_against_the_float_file_and_may_be_a_gain() -> None:
    attempt = Try("x", "", "x")
    assert judged(attempt, Score(0.89, 1.0, 1), 0.90, 0.01, 0.0).passed
    assert not judged(attempt, Score(0.8899, 1.0, 1), 0.90, 0.01, 0.0).passed
    gain = judged(attempt, Score(0.91, 1.0, 1), 0.90, 0.0, 0.0)
    assert gain.passed and gain.drop is not None and gain.drop < 0


def test_rungs_survive_a_file() -> None:
    for score in (Score(0.5, 1.0, 7), None):
        rung = judged(Try("n", "w", "m", "kept a"), score, 0.9, 0.01, 1.5)
        assert Rung.from_dict(rung.to_dict()) == rung
