import pytest

from mobilenets.costs import Budget, Sizes, parse_budget
from mobilenets.errors import BudgetFormatError


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5ms", "latency_ms", 5.0),
        ("0.5 ms", "latency_ms", 0.5),
        ("800us", "latency_ms", 0.8),
        ("2MB", "file_bytes", 2e6),
        ("900KB", "file_bytes", 9e5),
        ("1MiB", "file_bytes", 2**20),
        ("50MMACs", "macs", 50e6),
        ("0.3GMACs", "macs", 0.3e9),
        ("1.5Mparams", "params", 1.5e6),
        ("300kparams", "params", 3e5),
        ("900KB-ram", "ram_bytes", 9e5),
        ("1MB-RAM", "ram_bytes", 1e6),
    ],
)
def test_reads(text: str, kind: str, value: float) -> None:
    assert parse_budget(text) == Budget(**{kind: pytest.approx(value)})


def test_several_hold_together_and_the_smaller_of_a_kind_wins() -> None:
    assert parse_budget(["5ms", "2MB", "3ms"]) == Budget(latency_ms=3.0, file_bytes=2e6)


@pytest.mark.parametrize("text", ["5", "ms", "5 parsecs", "5MB-rom", "-5ms", "", "5ms6", "five ms", "1e3"])
def test_refuses_and_shows_how(text: str) -> None:
    with pytest.raises(BudgetFormatError, match="such as 5ms"):
        parse_budget(text)


def test_refuses_zero() -> None:
    with pytest.raises(BudgetFormatError, match="above 0"):
        parse_budget("0ms")


def test_text_reads_back() -> None:
    budget = parse_budget(["5ms", "2MB", "50MMACs", "1.5Mparams", "900KB-ram"])
    assert budget.text == "5 ms and 2 MB and 50 M macs and 1.5 M params and 900 KB of activations"


def test_load_is_the_largest_part_of_a_limit():
    counted = Sizes(macs=50_000_000, params=2_000_000, ram_bytes=400_000, file_bytes=3_000_000)
    assert parse_budget(["100MMACs", "2MB"]).load(counted) == 1.5
    assert parse_budget(["10ms", "4MB"]).load(counted, 9.0) == 0.9
