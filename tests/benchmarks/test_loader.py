"""Is the same read by each contestant?"""

import pytest

from benchmarks import loader


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves its files open
def test_all_contestants_give_the_same_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "TARS", 2)
    monkeypatch.setattr(loader, "PAIRS", 50)
    monkeypatch.setattr(loader, "PICTURES", 5)
    monkeypatch.setattr(loader, "RETENTIONS", (0.5,))
    loader.write(tmp_path)
    numbers = loader.kept_numbers(0.5)
    assert 30 < len(numbers) < 70
    keys = {f"{i:09d}" for i in numbers}
    given = {name: list(source(tmp_path, 0.5, keys)) for name, source in loader.SOURCES.items()}
    for name, pairs in given.items():
        assert [words for _, words in sorted(pairs, key=lambda pair: pair[1])] == sorted(
            loader.caption(i) for i in numbers
        ), name
        assert sorted(pairs) == sorted(given["ours"])
        assert (pairs == sorted(pairs, key=lambda pair: int(pair[1].split()[1]))) == (
            name == "a filtered scan"
        )
