"""Closed forms of the pixel measures, and the pool streamed over processes."""

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from alchemist.core import files, stateless
from alchemist.pools import store
from alchemist.pools.store import Row, read_index, write_pool
from alchemist.raters import pixels
from alchemist.raters.kinds.frequency import rate as frequency
from alchemist.raters.pixels import MEASURES, score, score_pool

REPO = Path(__file__).parents[2]


def grey(plane):
    return np.repeat(np.asarray(plane, dtype=np.uint8)[..., None], 3, axis=2)


def scene(size=64, number=0):
    """Rectangles of random colours, with sharp edges."""
    rng = stateless.generator("scene", number)
    image = np.full((size, size, 3), rng.integers(0, 256, 3), dtype=np.uint8)
    for _ in range(8):
        x, y, w, h = rng.integers(0, size // 2, 4)
        image[y : y + h + 3, x : x + w + 3] = rng.integers(0, 256, 3)
    return image


def blurred(image, sigma):
    return cv2.GaussianBlur(image, (0, 0), sigma)


@pytest.mark.parametrize("value", [0, 1, 77, 255])
def test_a_constant_image_has_no_clarity_no_edges_and_low_frequencies_alone(value):
    image = np.full((32, 48, 3), (value, 255 - value, value // 2), dtype=np.uint8)
    assert score("clarity", image) == 0
    assert score("edge_density", image) == 0
    assert score("frequency", image) == 1
    assert score("colourfulness", grey(np.full((32, 32), value))) == 0


def test_clarity_of_a_single_bright_pixel():
    """The Laplacian is -4v there and v at its four neighbours: variance 20 v^2 / N, v in luma."""
    for colour, v in (((90, 90, 90), 90.0), ((100, 0, 0), 29.9), ((0, 100, 0), 58.7), ((0, 0, 100), 11.4)):
        image = np.zeros((32, 40, 3), dtype=np.uint8)
        image[15, 20] = colour
        assert score("clarity", image) == pytest.approx(20 * v**2 / (32 * 40), rel=1e-12)


def test_a_border_is_reflected_so_that_a_ramp_is_flat_but_for_its_ends():
    """The mirror about the border's pixel gives 2 at the one end of a ramp and -2 at the other."""
    image = grey(np.tile(np.arange(32), (32, 1)))
    assert score("clarity", image) == pytest.approx(2 * 32 * 4 / 32**2, rel=1e-12)


@pytest.mark.parametrize("number", range(4))
def test_clarity_falls_with_every_blur_and_rises_with_noise(number):
    image = scene(number=number)
    sharp = [score("clarity", x) for x in (image, *(blurred(image, s) for s in (0.5, 1, 2, 4)))]
    assert all(a > b for a, b in itertools.pairwise(sharp))
    noise = stateless.generator("noise", number).normal(size=image.shape)
    noisy = [np.clip(image + sd * noise, 0, 255).astype(np.uint8) for sd in (10, 30)]
    assert sharp[0] < score("clarity", noisy[0]) < score("clarity", noisy[1])


def test_low_frequency_of_a_wave():
    """A wave of 4 in 64 px under a Hann window has powers 1/4, 1, 1/4 in bins 3, 4, 5.

    A tenth of Nyquist is bin 3.2, so a sixth of the energy is low (and the window's own spread
    across the wave, to radius sqrt(10) = 3.16, as well).
    """
    plane = 127.5 + 127.5 * np.cos(2 * np.pi * 4 * np.arange(64) / 64 + 1)
    image = grey(np.rint(np.tile(plane, (64, 1))))
    assert frequency(image) == pytest.approx(1 / 6, abs=1e-3)
    # Along the other axis, and at other frequencies.
    assert frequency(image.transpose(1, 0, 2)) == pytest.approx(1 / 6, abs=1e-3)
    for waves, share in ((2, 1.0), (8, 0.0), (20, 0.0)):
        wave = np.rint(127.5 + 127.5 * np.cos(2 * np.pi * waves * np.arange(64) / 64))
        assert frequency(grey(np.tile(wave, (64, 1)))) == pytest.approx(share, abs=1e-3), waves


def test_a_checkerboard_has_no_low_frequencies():
    for shape in ((32, 32), (31, 45)):
        assert frequency(grey(255 * (np.indices(shape).sum(0) % 2))) < 1e-6


@pytest.mark.parametrize("contrast", [4, 40, 200])
def test_a_step_is_two_columns_of_edge_at_any_contrast(contrast):
    """Sobel's mask sees a step from both of its sides."""
    plane = np.full((24, 32), 20)
    plane[:, 13:] += contrast
    assert score("edge_density", grey(plane)) == 2 / 32


def otsu_share(magnitude):
    """By the definition: the split of 256 levels with the largest variance between its two classes."""
    levels = np.rint(magnitude * 255 / magnitude.max()).ravel()
    best, share = -1.0, 0.0
    for threshold in range(255):
        above = levels > threshold
        p = above.mean()
        if 0 < p < 1:
            between = p * (1 - p) * (levels[above].mean() - levels[~above].mean()) ** 2
            if between > best * (1 + 1e-9):
                best, share = between, p
    return share


def test_edge_density_is_the_share_above_otsus_threshold():
    for number in range(6):
        image = blurred(scene(32, number), 0.7)
        y = np.pad(image @ np.array([0.299, 0.587, 0.114]), 1, mode="reflect")
        gx = y[:, 2:] - y[:, :-2]
        gy = y[2:] - y[:-2]
        gx, gy = gx[:-2] + 2 * gx[1:-1] + gx[2:], gy[:, :-2] + 2 * gy[:, 1:-1] + gy[:, 2:]
        assert score("edge_density", image) == pytest.approx(otsu_share(np.hypot(gx, gy)), abs=1e-12)


def test_colourfulness_of_two_halves():
    """Half red, half blue: rg is 255 and 0, yb 127.5 and -255; deviations half the gap, means between."""
    image = np.zeros((16, 16, 3), dtype=np.uint8)
    image[:, :8, 0], image[:, 8:, 2] = 255, 255
    expected = np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, -63.75)
    assert score("colourfulness", image) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("number", range(4))
def test_the_better_image_beats_its_own_worse_version(number):
    """Blur for clarity and frequency, fading for colour. Blur widens edges, so their share may rise."""
    image = scene(number=number)
    for kind in ("clarity", "frequency"):
        sign = {"clarity": 1, "frequency": -1}[kind]
        values = [sign * score(kind, x) for x in (image, blurred(image, 1), blurred(image, 3))]
        assert values[0] > values[1] > values[2]
    faded = (0.5 * image + 0.5 * image.mean(axis=2, keepdims=True)).astype(np.uint8)
    assert score("colourfulness", image) > score("colourfulness", faded) > 0
    ink, crowded = scene(number=number), grey(255 * (np.indices((64, 64))[1] // 4 % 2))
    assert score("edge_density", crowded) > score("edge_density", ink)


@pytest.mark.parametrize("kind", MEASURES)
def test_no_measure_depends_on_format_or_side(kind):
    image = scene(40)[:, :33]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    assert score(kind, np.asarray(Image.open(file))) == score(kind, image)
    for turned in (image[::-1], image[:, ::-1], image.transpose(1, 0, 2)):
        assert score(kind, turned) == pytest.approx(score(kind, image), rel=1e-9)
        assert score(kind, np.ascontiguousarray(turned)) == score(kind, turned)


@pytest.mark.parametrize("kind", MEASURES)
def test_a_large_image_is_measured_at_256_px(kind):
    image = scene(256)[:200]
    large = image.repeat(3, axis=0).repeat(3, axis=1)
    assert pixels.canvas(large).shape == (200, 256, 3)
    assert score(kind, large) == score(kind, image)


def test_what_is_no_image_is_refused():
    good = scene(8)
    for bad in (
        good[..., 0],
        good.astype(np.float32),
        good[..., :2],
        good[:0],
        np.dstack([good, good[..., 0]]),
    ):
        with pytest.raises(ValueError, match="uint8"):
            score("clarity", bad)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """1,300 pairs, so that there are several chunks, the last not full; some rejected, three shards."""
    folder = tmp_path_factory.mktemp("pool")
    images = stateless.generator("pool").integers(0, 256, (1300, 8, 8, 3), dtype=np.uint8)
    splits = ["meta_val" if i % 100 == 50 else "pool" for i in range(1300)]
    rows = (
        Row(
            f"id-{i:04d}",
            "c",
            splits[i],
            f"g{i}",
            None if i % 97 == 5 else images[i],
            "no" * (i % 97 == 5),
            None,
        )
        for i in range(1300)
    )
    write_pool(folder, rows, 8, 600, {})
    return folder


def usable(folder):
    index = read_index(folder)
    return index[(index["split"] == "pool") & (index["status"] == "ok")]


@pytest.mark.parametrize("kind", MEASURES)
def test_the_pool_is_measured_in_order_by_any_number_of_processes(pool, kind):
    rows = usable(pool)
    ticks = []
    alone = score_pool(pool, rows, kind, 1, ticks.append)
    assert sum(ticks) == len(rows)
    assert len(ticks) == 3
    assert alone.tolist() == [score(kind, image) for image in store.images(pool, rows)]
    backwards = score_pool(pool, rows[::-1], kind, 1, lambda n: None)
    assert backwards[::-1].tolist() == alone.tolist()
    if kind == "clarity":
        ticks.clear()
        assert score_pool(pool, rows, kind, 3, ticks.append).tolist() == alone.tolist()
        assert sum(ticks) == len(rows)


def test_a_rejected_image_raises(pool):
    with pytest.raises(ValueError, match="rejected"):
        score_pool(pool, read_index(pool), "clarity", 1, lambda n: None)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broken_image_raises(pool, tmp_path, workers):
    for file in pool.iterdir():
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(content[:-1000] if file.name == "images-00001.npy" else content)
    with pytest.raises(ValueError, match="mmap"):
        score_pool(tmp_path, usable(tmp_path), "clarity", workers, lambda n: None)


HANGS = """
import sys, time
from pathlib import Path
from alchemist.raters.pixels import score_pool
from alchemist.pools.store import read_index

def hang(count):
    print("measuring", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    rows = read_index(Path(sys.argv[1]))
    score_pool(Path(sys.argv[1]), rows[rows["status"] == "ok"], "clarity", 2, hang)
"""


def children(process):
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
def test_a_killed_run_leaves_no_process(pool, tmp_path):
    script = tmp_path / "hangs.py"
    script.write_text(HANGS)
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    with subprocess.Popen(
        [sys.executable, str(script), str(pool)], stdout=subprocess.PIPE, env=environment, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "measuring\n"
        workers = children(parent.pid)
        assert len(workers) >= 2
        assert all(running(worker) for worker in workers)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(running(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(running(worker) for worker in workers)


def stage(folder, rater, pool):
    return subprocess.run(
        [sys.executable, "-m", "stages.heuristic", "--rater", rater, "--pool", str(pool),
         "--out", str(folder / "all.parquet"), "--log-out", str(folder / "log"),
         "--time-out", str(folder / "time.json")],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(REPO)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_stage_writes_ratings_by_direction(pool, tmp_path):
    raters = {"blurry": {"kind": "clarity", "direction": -1}, "plain": {"kind": "loss", "direction": 1}}
    files.write_json(tmp_path / "data/params.json", files.sealed({"raters": raters}))
    done = stage(tmp_path, "blurry", pool)
    assert done.returncode == 0, done.stderr
    rows = usable(pool)
    table = pd.read_parquet(tmp_path / "all.parquet")
    assert table["id"].tolist() == rows["id"].tolist()
    assert table["rating"].tolist() == (-score_pool(pool, rows, "clarity", 1, lambda n: None)).tolist()
    facts = json.loads((tmp_path / "log" / "rating.json").read_text())
    assert facts["rater"] == "blurry"
    assert facts["kind"] == "clarity"
    assert facts["pairs"] == len(rows)
    assert facts["train_flops"] == facts["score_flops"] == 0
    assert facts["log"] == []
    spent = json.loads((tmp_path / "time.json").read_text())
    assert 0 < spent["score_seconds"] <= spent["seconds"]

    refused = stage(tmp_path, "plain", pool)
    assert refused.returncode == 2
    told = refused.stderr.strip().splitlines()
    assert len(told) == 1
    assert "raters.plain.kind is 'loss'" in told[0]
    assert "clarity, frequency, edge_density, colourfulness" in told[0]


def test_the_stage_needs_no_torch():
    code = "import stages.heuristic, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True)
