"""How near the pictures of a chosen subset are to the references, and from which folders they come.

    python -m benchmarks.halves [--data data] [--ratio 0.5] [--family star] SELECTION SELECTION …

Behind a grid whose stages went as far as `floors` and `prune`. Whether an arm is ahead by FD because its
pairs look like the references cannot be seen from its targets. So of each selection a line for each seed:
FD of its pictures to the references of every view; of the same given back by the codec, to references as
they are and to such as the codec gave back (whose distance from a target is the tokenised FD). Then, where
ids begin with folders, the share of each in per cent. FD falls with the number of pictures: compare subsets
of one size, and no view with another. Networks run on the CPU, where those of the references have to have
run. It takes some three minutes for 10,000 pairs.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.core import devices, files, progress
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.measures import features
from alchemist.measures.distances import Moments, frechet_distance, moments
from alchemist.models import family
from alchemist.pools import store

Floats = NDArray[np.floating[Any]]
Pictures = NDArray[np.uint8]
BATCH = 50
CPU = devices.chosen("cpu")


def chosen(folder: Path, selections: list[str], ratio: str) -> dict[tuple[str, str], pd.Index]:
    """The ids of every subset that cells train on and that lies there, by selection and seed."""
    out: dict[tuple[str, str], pd.Index] = {}
    for selection in selections:
        paths = sorted(folder.glob(f"{selection}/{ratio}/*.parquet"))
        paths = [path for path in paths if not path.stem.startswith("ids-")]  # these count lent pairs too
        if not paths:
            where = folder / selection / ratio
            raise SystemExit(f"{where} has no subset; run dvc repro with {selection} in the grid.")
        out |= {(selection, path.stem): pd.Index(pd.read_parquet(path)["id"]) for path in paths}
    return out


def of_subsets(pool: Path, subsets: dict[tuple[str, str], pd.Index]) -> pd.DataFrame:
    """The rows of the pool that any subset holds, in their order, which is that of the pool's files."""
    index = store.read_index(pool)
    wanted = set().union(*subsets.values())
    if strange := wanted - set(index["id"]):
        raise SystemExit(f"{pool} has no pair {min(strange)}, which a subset holds; run dvc repro.")
    return index[index["id"].isin(wanted)]


def seen(pool: Path, rows: pd.DataFrame, measure: Callable[[Pictures], Floats]) -> Floats:
    """What `measure` says of the pictures of rows, in their order."""
    starts = progress.bar(range(0, len(rows), BATCH), unit="batch", desc="pictures")
    return np.concatenate([measure(store.images(pool, rows.iloc[at : at + BATCH])) for at in starts])


def of_views(beside: pd.DataFrame, found: Floats) -> dict[str, Moments]:
    """The references of each view; those that are the same as an earlier view's stand once."""
    views = beside.select_dtypes(bool).T.drop_duplicates().T
    return {str(view): moments(found[views[view].to_numpy(bool)]) for view in views}


def main() -> None:
    """Prints a table of distances, and one of folders."""
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
    rows = of_subsets(data / "pool", subsets)
    noted = EvaluateSettings(**files.read_json(data / "scorer/card.json")["evaluate"])
    by = features.extractor(noted.features, noted.feature_size, CPU, noted.weights)
    codec = family.load(asked.family).codec(data / "codec" / asked.family, CPU)

    def features_of(images: Pictures) -> Floats:
        both = (features.extract(shown, by, BATCH) for shown in (images, codec.reconstruct(images)))
        return np.stack(list(both), axis=1)

    real, back = np.moveaxis(seen(data / "pool", rows, features_of), 1, 0)
    floors = data / "floors" / asked.family
    beside = pd.read_parquet(floors / "references.parquet")
    references = of_views(beside, np.load(floors / "real.npy"))
    coded = of_views(beside, np.load(floors / "coded.npy"))

    def distances(at: NDArray[np.intp]) -> dict[str, float]:
        ours, given_back = moments(real[at]), moments(back[at])
        return (
            {view: frechet_distance(ours, to) for view, to in references.items()}
            | {f"{view}, given back": frechet_distance(given_back, to) for view, to in references.items()}
            | {f"{view}, both given back": frechet_distance(given_back, to) for view, to in coded.items()}
        )

    places = {key: pd.Index(rows["id"]).get_indexer(ids) for key, ids in subsets.items()}
    print(pd.DataFrame({key: distances(at) for key, at in places.items()}).T.round(1).to_string())
    folders = rows["id"].str.rpartition("/")[0]
    if folders.nunique() > 1:
        shares = {key: folders.iloc[at].value_counts(normalize=True) for key, at in places.items()}
        print((100 * pd.DataFrame(shares).T.fillna(0.0)).round(1).to_string())


if __name__ == "__main__":
    main()
