"""How near the pictures of a chosen subset are to the references, and from which folders they come.

    python -m benchmarks.halves [--data data] [--ratio 0.5] [--family star] SELECTION SELECTION …

Behind a grid whose stages went as far as `floors` and `subset`. An arm whose targets have the better FD may
have it because its pairs look like the references, or because more was learned from them: what its pairs
look like is told here, without a target. Of each selection that lies there, a line for each seed: FD of its
pictures to the references of every view, as they are and as the codec gives them back, and where ids begin
with folders the share of each. Distances fall with the number of pictures, so compare subsets of one size.
It takes some three minutes for 10,000 pairs.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.core import devices, files, progress
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.measures import features
from alchemist.measures.distances import Moments, frechet_distance, moments
from alchemist.models import family
from alchemist.pools import store

Pictures = NDArray[np.uint8]
BATCH = 50
CPU = devices.chosen("cpu")


def chosen(folder: Path, selections: list[str], ratio: str) -> dict[tuple[str, str], "pd.Series[str]"]:
    """The ids of every subset that lies there, by selection and seed."""
    out: dict[tuple[str, str], pd.Series[str]] = {}
    for selection in selections:
        paths = sorted(folder.glob(f"{selection}/{ratio}/*.parquet"))
        paths = [path for path in paths if not path.stem.startswith("ids-")]  # these count lent pairs too
        if not paths:
            where = folder / selection / ratio
            raise SystemExit(f"{where} has no subset; run dvc repro with {selection} in the grid.")
        out |= {(selection, path.stem): pd.read_parquet(path)["id"] for path in paths}
    return out


def seen(
    pool: Path, rows: pd.DataFrame, by: features.Extractor, through: Callable[[Pictures], Pictures]
) -> NDArray[np.float32]:
    """Features of pairs, row by row, of their pictures after `through`."""
    order = store.forward(rows)
    ahead = rows.iloc[order]
    found = [
        features.extract(through(store.images(pool, ahead.iloc[at : at + BATCH])), by, BATCH)
        for at in progress.bar(range(0, len(ahead), BATCH), unit="batch", desc="pictures")
    ]
    return np.concatenate(found)[np.argsort(order)]


def main() -> None:
    """Prints a table of distances, and one of sources."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("selections", nargs="+")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--ratio", default="0.5")
    parser.add_argument("--family", default="star")
    asked = parser.parse_args()
    data: Path = asked.data
    subsets = chosen(data / "subsets", asked.selections, asked.ratio)
    floors = data / "floors" / asked.family
    measured = files.read_json(data / "scorer/card.json")["evaluate"]
    by = features.extractors(EvaluateSettings(**measured), CPU)[0]
    beside, real = pd.read_parquet(floors / "references.parquet"), np.load(floors / "real.npy")
    views = beside.select_dtypes(bool).T.drop_duplicates().T  # the references of some views are the same
    references = {str(view): moments(real[views[view].to_numpy(bool)]) for view in views}
    rows = store.read_index(data / "pool").set_index("id", drop=False)
    rows = rows.loc[sorted(set().union(*subsets.values()))]
    codec = family.load(asked.family).codec(data / "codec" / asked.family, CPU)
    found = {
        "real": seen(data / "pool", rows, by, lambda images: images),
        "coded": seen(data / "pool", rows, by, codec.reconstruct),
    }

    def distances(at: NDArray[np.int64]) -> dict[str, float]:
        of: dict[str, Moments] = {name: moments(values[at]) for name, values in found.items()}
        return {f"{v} {n}": frechet_distance(of[n], to) for n in of for v, to in references.items()}

    places = {key: rows.index.get_indexer(pd.Index(ids)) for key, ids in subsets.items()}
    print(pd.DataFrame({key: distances(at) for key, at in places.items()}).T.round(1).to_string())
    folders = rows["id"].str.rpartition("/")[0]
    if folders.nunique() > 1:
        shares = {key: folders.iloc[at].value_counts(normalize=True) for key, at in places.items()}
        print((100 * pd.DataFrame(shares).T).round(1).to_string())


if __name__ == "__main__":
    main()
