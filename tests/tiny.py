"""The repo's params.yaml, shrunk so that a grid of the real networks takes seconds."""

from pathlib import Path
from typing import Any

from alchemist.params.inherit import inherited
from stages.params_file import read_params

REPO = Path(__file__).parents[1]
ASKED = {
    "question": "Is it so?", "pools": {"emoji": {}}, "scale": "tiny", "models": ["xs"], "ratios": [0.5],
    "seeds": {"first": 100, "count": 2, "part": 2}, "looks": [2], "metric": "fd", "point": "equal_images",
    "margins": {"fd": 5.0, "nll": 0.02}, "primary": "A",
    "claims": {"A": {"says": "One beats the other.", "arm": "alchemist", "against": "random"}},
}  # fmt: skip


def only(params: dict[str, Any], **kept: list[str]) -> dict[str, Any]:
    """The params with these blocks of a table alone and a short study: DVC parses the file at every step."""
    tables = {table: {name: params[table][name] for name in names} for table, names in kept.items()}
    return params | tables | {"studies": {"asked": ASKED}}


def tiny_params() -> dict[str, Any]:
    """A dictionary of params: one seed, two arms, 150 pairs, some steps; whole blocks, and few of them."""
    params: dict[str, Any] = inherited(read_params(REPO / "params.yaml"))
    params = only(params, scales=["tiny"], pools=["emoji"], contrasts=["alchemist_random", "best_alchemist"])
    params["roles"] = {"proxy": "xs", "rater": "xs"}
    params["statistics"] = {"primary": None, "secondary": [], "confidence": 0.95}
    params["grid"] = {
        "families": ["star"],
        "selections": ["random", "alchemist"], "raters": ["alchemist", "random"], "embeddings": [],
        "heuristics": [], "oracles": [], "ratios": [0.5], "models": ["xs"], "seeds": [0],
        "ablation": {"selections": [], "ratios": []},
        "transfer": {"selections": [], "ratios": [], "models": []},
        "others": {
            "flux": {"proxy": "flux_s", "rater": "flux_xs", "raters": [], "models": []},
        },
    }  # fmt: skip
    params["pools"]["emoji"] |= {
        "pairs": 150, "meta_validation": {"pairs": 40, "source": "mixture"}, "evaluation": {"pairs": 48},
        "scorer": {"pairs": 80},
    }  # fmt: skip
    for rater in params["raters"].values():
        if rater["kind"] == "meta":
            rater["least_validation"] = 40  # what there is
    scale = params["scales"]["tiny"]
    scale["scorer"] |= {"steps": 5, "batch": 16}
    scale["rate"] |= {"images": 96, "reference_group": 15}
    scale["train"] |= {"images": 128}
    scale["evaluate"] |= {"images": 24, "kid_subsets": 2, "kid_subset_size": 12, "grid": 8, "batch": 12,
                          "feature_size": 64}  # fmt: skip
    return params
