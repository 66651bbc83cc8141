"""The command that fetches the pool `icons`: what it writes, keeps, tells and refuses."""

import pytest
from pool_helpers import user_pool
from pools.icon_packages import faces, set_of, tools
from registry import serving

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.pools import icons
from alchemist.pools.export import Layout
from alchemist.pools.icons import AGAIN, BROKEN, HIDDEN, LOST, TURNED
from alchemist.pools.read import records
from stages.icons import Order, Sets, run

USABLE = [
    f"faces/{name}" for name in ("currency", "half", "other-half", "red-half", "same-half", "wide-logo")
]


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry that has two sets, which stand in the place of the real ones; and what it was asked for."""
    packages = {"faces": faces(), "tools": tools()}
    sets = tuple(set_of(name, content) for name, content in packages.items())
    monkeypatch.setattr(icons, "SETS", sets)
    held = {one.package.file: packages[one.name] for one in sets}
    with serving(tmp_path / "registry", held) as found:
        yield found


def fetch(registry, out, layout=Layout.PARQUET, order=Order.SORTED, side=16):
    run(layout, order, side, out, registry[0])


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("order", list(Order))
def test_every_layout_and_order_holds_the_same_pairs(tmp_path, registry, layout, order):
    fetch(registry, tmp_path / "icons", layout, order)
    columns = {"columns": {"id": "id"}} if layout is Layout.PARQUET else {}
    read = {record.id: record for record in records(user_pool(tmp_path / "icons", layout.value, **columns))}
    assert sorted(read) == [*USABLE, "tools/saw"]
    fetch(registry, tmp_path / "plain")
    plain = user_pool(tmp_path / "plain", "parquet", columns={"id": "id"})
    for record in records(plain):
        other = read[record.id]
        assert (other.caption, other.pixels, other.reason) == (record.caption, record.pixels, record.reason)
    # half and red-half are one drawing by two names, and no exact duplicates
    assert read["faces/half"].pixels == read["faces/red-half"].pixels
    assert not read["faces/half"].reason


def test_whose_the_drawings_are_and_what_was_left_out_is_kept_and_told(tmp_path, registry, capsys):
    fetch(registry, tmp_path / "icons")
    card = files.read_json(tmp_path / "icons/card.json")
    assert card["pairs"] == 7
    assert card["skipped"] == {
        BROKEN: ["faces/broken"],
        HIDDEN: ["faces/gone", "faces/gone-too"],
        LOST: ["faces/of-none", "faces/round", "faces/round-too"],
        TURNED: ["faces/upside-down"],
    }
    told = capsys.readouterr().out
    assert f"      2 {HIDDEN}" in told
    assert f"      1 {BROKEN}" in told
    assert "wrote 7 pairs" in told
    stated = (tmp_path / "icons/LICENCES.md").read_text()
    assert "- Faces: by Nobody; CC0-1.0; @x/faces 1.0.0, rendered." in stated
    assert [one["licence"] for one in card["sets"]] == ["CC0-1.0"] * 2


def test_the_clean_set_is_another_in_a_folder_of_its_own(tmp_path, registry, monkeypatch):
    monkeypatch.setattr(icons, "CLEAN", (icons.SETS[0],))
    monkeypatch.chdir(tmp_path)
    for sets in Sets:
        run(side=16, registry=registry[0], sets=sets)
    found = {sets: files.read_json(tmp_path / "datasets" / sets.value / "card.json") for sets in Sets}
    assert [len(found[sets]["sets"]) for sets in Sets] == [2, 1]
    assert found[Sets.CLEAN]["pairs"] == 4
    assert found[Sets.CLEAN]["skipped"][AGAIN] == ["faces/red-half", "faces/same-half"]
    assert "tools" not in (tmp_path / "datasets/icons_clean/LICENCES.md").read_text().casefold()


def test_what_is_there_is_not_fetched_again_and_something_else_is_refused(tmp_path, registry):
    fetch(registry, tmp_path / "icons")
    before = (tmp_path / "icons/pairs.parquet").stat().st_mtime_ns
    fetch(registry, tmp_path / "icons")
    assert len(registry[1]) == 2
    assert (tmp_path / "icons/pairs.parquet").stat().st_mtime_ns == before
    for changes in ({"side": 32}, {"order": Order.SHUFFLED}, {"layout": Layout.FOLDER}):
        with pytest.raises(
            Refusal, match=r"holds something else than is asked for; remove it, or name another"
        ):
            fetch(registry, tmp_path / "icons", **changes)
    (tmp_path / "mine").mkdir()
    with pytest.raises(Refusal, match="holds something else"):
        fetch(registry, tmp_path / "mine")


def test_a_set_of_other_bytes_is_refused_and_nothing_is_left(tmp_path, registry):
    (tmp_path / "registry" / icons.SETS[1].package.file).write_bytes(faces())
    with pytest.raises(Refusal, match=r"^What the npm registry gives as @x/tools 1\.0\.0 has another sha512"):
        fetch(registry, tmp_path / "icons")
    assert [path.name for path in tmp_path.iterdir()] == ["registry"]
