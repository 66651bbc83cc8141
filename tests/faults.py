"""Plants known faults, each alone in a copy of the repo, and says which test catches it.

    python -m tests.faults [NAME …]     all of them take some minutes; --list prints their names

A fault is a line of FAULTS: one text of one file, and what a careless edit would put in its place. To add
one, add a line; tests/test_faults.py keeps the texts findable. A fault that no test catches ends the run
with 1.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
COPIED = (
    "alchemist",
    "stages",
    "tests",
    "torture",
    "assets",
    "docs",
    "params.yaml",
    "dvc.yaml",
    "pyproject.toml",
)


@dataclass(frozen=True)
class Fault:
    """In `file`, `old` (which stands there once) becomes `new`; the tests at `tests` should turn red."""

    name: str
    file: str
    old: str
    new: str
    tests: str


ENCODE, TEST_ENCODE = "stages/encode.py", "tests/stages/test_encode.py"
EVALUATE, TRAIN, RATE = "stages/evaluate.py", "stages/train.py", "stages/rate.py"
KINDS = "alchemist/raters/kinds"
STEPS, PROXY = "alchemist/raters/steps.py", "alchemist/raters/proxy.py"
MEASURE, FIGURES = "alchemist/measures/generator.py", "alchemist/measures/figures.py"
REFERENCES = "alchemist/measures/references.py"
TEST_VIEWS = "tests/stages/test_views.py"
TEST_REFERENCES, TEST_ENCODED = "tests/measures/test_references.py", "tests/models/test_encoded.py"
TEST_EVALUATE, TEST_TRAIN, TEST_RATE = (
    f"tests/stages/test_{name}.py" for name in ("evaluate", "train", "rate")
)
FAULTS = [
    # --- what the stages pass to the nouns
    Fault("nll of pairs that the target was trained on", EVALUATE,
          "held_out_losses(generator, data, rows, settings.batch)",
          "held_out_losses(generator, data, type(rows)(data.pool().numbers[:24]), 24)",
          TEST_EVALUATE),
    Fault("embeddings of other prompts' captions", EVALUATE,
          'np.load(floors / "captions.npy")', 'np.load(floors / "captions.npy")[::-1].copy()', TEST_EVALUATE),
    Fault("references that hold the prompts", REFERENCES,
          'part if settings.references == "all" else part.iloc[:count]', "part", TEST_EVALUATE),
    Fault("prompts and references in the order of the files", "alchemist/pools/store.py",
          'table.iloc[stateless.id_order(table["id"])]', "table", TEST_EVALUATE),
    Fault("rows in the order of the files", "alchemist/models/encoded.py",
          'stateless.id_order(self.rows["id"])', "np.arange(len(self.rows))", TEST_ENCODED),
    Fault("a cluster that stands on the side of its first pair", REFERENCES,
          'stateless.id_uniforms(held["id"], "stands for its copies")',
          'stateless.id_uniforms(held["id"], "order")', TEST_REFERENCES),
    Fault("prompts of every split called seen", "stages/floors.py",
          'store.parts(pool, ("pool",), CAPTIONS', 'store.parts(pool, ("pool", "evaluation"), CAPTIONS',
          TEST_VIEWS),
    Fault("references of all views for each", EVALUATE,
          "References.of(real, coded, view.references)", "References.of(real, coded)", TEST_VIEWS),
    Fault("images of all views for each", EVALUATE,
          "figures.figures(of_images.part(view.prompts), compared[name], settings)",
          "figures.figures(of_images, compared[name], settings)", TEST_VIEWS),
    Fault("the loss of all views for each", EVALUATE,
          "losses[view.prompts].mean()", "losses.mean()", TEST_VIEWS),
    Fault("features in the order in which images are read", "stages/scorer.py",
          "taken.part(np.argsort(order)).features", "taken.features", "tests/stages/test_scorer.py"),
    Fault("another noise for each cell's seed", EVALUATE,
          "measure.generate(generator, data, rows, law, settings, bar.update)",
          'measure.generate(generator, data, rows, law, settings.model_copy(update={"seed": ran["seed"]}), '
          "bar.update)",
          TEST_EVALUATE),
    Fault("the rater's validation taken from the evaluation split", RATE,
          "pool, data.validation(), data.rated()",
          'pool, type(data.validation())((data.rows["split"] == "evaluation").to_numpy().nonzero()[0]), '
          "data.rated()",
          TEST_RATE),
    Fault("cells that train on what they are measured by", "stages/prune.py",
          "select(table[~lent], ratio, law)", "ids", "tests/stages/test_prune.py"),
    Fault("ids of the split pool alone", "stages/prune.py",
          "select(table, ratio, law)", "select(table[~lent], ratio, law)", "tests/stages/test_prune.py"),
    Fault("no rating of lent pairs", RATE,
          "data.validation(), data.rated(), seed", "data.validation(), data.pool(), seed",
          "tests/test_own_ids.py"),
    Fault("one draw of the subset for all seeds", "alchemist/pruning/laws.py",
          "sampler.seed + seed", "sampler.seed", "tests/stages/test_prune.py"),
    Fault("one seed for all targets", TRAIN,
          "chosen.codec(encoded / CODEC, device), seed)", "chosen.codec(encoded / CODEC, device), 0)",
          TEST_TRAIN),
    Fault("one order for all targets", TRAIN,
          "data, rows, settings, seed, stops", "data, rows, settings, 0, stops", TEST_TRAIN),
    Fault("targets trained on the first n of the pool", TRAIN,
          'data.subset(tables.read(subset, ["id"])["id"])',
          'type(pool)(pool.numbers[: len(tables.read(subset, ["id"]))])', TEST_TRAIN),
    # --- signs of the controls
    Fault("the direction of the loss rater dropped", f"{KINDS}/loss.py",
          "settings.direction * losses", "losses", TEST_RATE),
    Fault("groups of the defaults in place of those that are asked for", f"{KINDS}/loss_within.py",
          "of_rated(run, settings.groups, where)", "of_rated(run, type(settings.groups)(), where)",
          "tests/raters/test_groups.py"),
    Fault("the band of best turned round", f"{KINDS}/caption_band.py",
          "rating: Floats = -np.abs(", "rating: Floats = np.abs(", TEST_RATE),
    Fault("caption gain with the other sign", f"{KINDS}/caption_gain.py",
          "settings.direction * (empty - given)", "settings.direction * (given - empty)",
          TEST_RATE),
    Fault("the second proxy trained on the pool", f"{KINDS}/reference_loss.py",
          "trained(quiet, run.validation)", "trained(quiet, run.pool)", TEST_RATE),
    # --- training and the meta-gradient
    Fault("raw weights in place of the average", "alchemist/models/training.py",
          "at_stop(seen, average.model)", "at_stop(seen, generator)", "tests/models/test_training.py"),
    Fault("the proxy's moments kept as it takes the reference's weights", STEPS,
          "    state.proxy_adam.state.clear()\n", "", "tests/raters/test_steps.py"),
    Fault("the proxy's moments kept as it was the reference itself", STEPS,
          "    state.proxy_adam.state.clear()\n", "        state.proxy_adam.state.clear()\n",
          "tests/raters/test_steps.py"),
    Fault("a + for the - of the credit's baseline", STEPS,
          "outcome.credit - baseline", "outcome.credit + baseline", "tests/raters/test_steps.py"),
    Fault("the train mean as the credit's baseline", STEPS,
          "baseline = -outcome.validation.mean()", "baseline = -outcome.train.mean()",
          "tests/raters/test_steps.py"),
    Fault("eq. 6 turned round", STEPS,
          "reference_step(state, step, weight.shares, budget) - train",
          "train - reference_step(state, step, weight.shares, budget)", "tests/raters"),
    Fault("a rater's order without the seed", "alchemist/raters/meta.py",
          "rows, stateless.key(part, run.seed)", "rows, stateless.key(part, 0)",
          "tests/raters/test_meta.py"),
    # --- the measures
    Fault("captions dropped from the nll", "alchemist/models/losses.py",
          "generator.losses(data.batch(chosen).to(device)",
          "generator.losses(data.batch(chosen, np.ones(len(chosen), dtype=np.bool_)).to(device)",
          "tests/measures/test_generator.py"),
    Fault("fd against coded references", FIGURES,
          "fd_name(network): frechet_distance(rows, references.moments[network])",
          "fd_name(network): frechet_distance(rows, references.coded)", "tests/measures/test_figures.py"),
    Fault("captions in place of the empty one", MEASURE,
          "null = data.null(len(chosen), captions.states.shape[1])", "null = captions", TEST_EVALUATE),
    Fault("one noise for all batches", MEASURE,
          "Chance.run(settings.seed, start, len(chosen))", "Chance.run(settings.seed, 0, len(chosen))",
          TEST_EVALUATE),
    Fault("the coded floor of fd against real references", FIGURES,
          "frechet_distance(prompts.coded.features[first], beside.coded)",
          "frechet_distance(prompts.coded.features[first], beside.moments[first])",
          "tests/stages/test_floors.py"),
    Fault("the floor of kid of coded prompts", FIGURES,
          "in prompts.real.features.items()", "in prompts.coded.features.items()",
          "tests/stages/test_floors.py"),
    Fault("a category beside the references of the others", FIGURES,
          "theirs = found.part(categories == category), of_real == category",
          "theirs = found.part(categories == category), of_real != category", TEST_EVALUATE),
    # --- more of what the stages pass
    Fault("rejected pairs encoded", ENCODE, '(index["status"] == "ok") & asked', "asked", TEST_ENCODE),
    Fault("lent pairs of the scorer's split not encoded", ENCODE, ' | index["lent"]', "", TEST_ENCODE),
    Fault("captions of a shard by the numbers of the first", "alchemist/models/encoded.py",
          'pc.add(told["text"], captions)', 'told["text"]', TEST_ENCODE),
    Fault("states of a shard where those of the first lie", "alchemist/models/encoded.py",
          "own[1:] + states", "own[1:]", TEST_ENCODE),
    Fault("what lies beside a shard is taken as it is", "alchemist/passes/shards.py",
          'if mark.get("beside") is not None:', "if False:", "tests/passes/test_shards.py"),
    Fault("one that comes late begins anew", "stages/engines.py",
          "not how.is_alone() and is_there()", "False", "tests/stages/test_heuristic.py"),
    Fault("each process joins what is there", "alchemist/passes/run.py",
          "return not missing", "return True", "tests/passes/test_run.py"),
    Fault("captions not cut", ENCODE,
          "encoder = of_family(text_settings(settings.text, where), family_name)",
          "encoder = of_family({}, family_name)", TEST_ENCODE),
    Fault("the pooled vector of the next caption", "alchemist/models/text.py",
          "found[i] = one[: len(pieces[i])], vector", "found[i - 1] = one[: len(pieces[i])], vector",
          "tests/models/test_text.py"),
    Fault("a tower with weights that were never stored", "alchemist/core/weights.py",
          'sorted(about["missing_keys"])', "[]", "tests/models/test_text.py"),
    Fault("phi of tied scales by rounding up", "alchemist/families/star/published.py",
          "10: (0, 0, 1, 1, 1, 2, 2, 3, 3, 3)", "10: (0, 0, 1, 1, 1, 2, 2, 2, 3, 3)",
          "tests/families/star/test_published.py"),
    Fault("a bfloat16 head where float32 is asked for", "alchemist/families/star/transformer.py",
          "hidden.float() if self.settings.float32_head else hidden", "hidden",
          "tests/families/star/test_transformer.py"),
    Fault("the last weights for every checkpoint", EVALUATE,
          'course.checkpoint(point["images"])', 'course.checkpoint(ran["points"][-1]["images"])',
          TEST_EVALUATE),
    Fault("the last names for every checkpoint", EVALUATE,
          '"points": point["names"]', '"points": ran["points"][-1]["names"]', TEST_EVALUATE),
    Fault("prompts scored with the captions of references", "stages/floors.py",
          'judge, list(ahead["caption"])', 'judge, list(beside["caption"])[: len(ahead)]',
          "tests/stages/test_floors.py"),
    Fault("figures of the scorer on what it was trained on", "stages/scorer.py",
          'images(rest, evaluate.batch, "held out")\n            words = list(rest["caption"])',
          'images(train, evaluate.batch, "held out")\n            words = list(train["caption"])',
          "tests/stages/test_scorer.py"),
    Fault("a scorer examined on copies of what it was fitted on", "alchemist/measures/scorer_split.py",
          ' & ~rows["cluster"].isin(rows["cluster"][fitted]).to_numpy()', "",
          "tests/measures/test_scorer_split.py"),
    Fault("a fit measured on the evaluation split alone", "stages/codec.py",
          '("evaluation", "scorer", "meta_val")', '("evaluation",)', "tests/stages/test_codec.py"),
    Fault("a random rating by position", f"{KINDS}/random.py",
          'stateless.id_uniforms(run.ids, "random", run.seed)',
          'stateless.uniforms(stateless.key("random", run.seed), run.pool.numbers)', TEST_RATE),
    Fault("one reference group for all seeds", f"{KINDS}/meta.py",
          "budget.reference_group, run.seed)", "budget.reference_group, 0)", TEST_RATE),
    Fault("the first pairs as the reference group", "alchemist/raters/score.py",
          "pool.numbers[np.sort(places)]", "pool.numbers[:count]", TEST_RATE),
    Fault("the first pairs as a group's members", "alchemist/raters/groups.py",
          "rows.numbers[np.sort(places)]", "rows.numbers[:count]", "tests/raters/test_groups.py"),
    Fault("groups of a step without the seed", "alchemist/raters/groups.py",
          'stateless.key("groups", seed)', 'stateless.key("groups")', "tests/raters/test_groups.py"),
    Fault("gates of groups with one mean of all groups", "alchemist/raters/compared.py",
          "(share.log() + scaled).logsumexp(0)", "scaled.logsumexp(0)", "tests/raters/test_compared.py"),
    Fault("pairs centred by the batch, not by their group", "alchemist/raters/network.py",
          "centred = logits - logits.mean(1, keepdim=True)", "centred = logits - logits.mean()",
          "tests/raters/test_compared.py"),
    Fault("a gate where none is asked for", "alchemist/raters/network.py",
          "gates - gates.mean() if gated else", "gates - gates.mean() if True else",
          "tests/raters/test_compared.py"),
    Fault("ratings by a gate that was not trained", f"{KINDS}/meta.py",
          'settings.group == "compared"\n', 'True\n', "tests/stages/test_score.py"),
    Fault("bad sources told with the source", "alchemist/pools/emoji.py",
          'came[ORIGIN] = f"source-{number:03d}"',
          'came[ORIGIN] = f"source-{number:03d}-{number in bad_sources(pool)}"',
          "tests/pools/test_origin.py"),
    Fault("one carried rater for all seeds", f"{KINDS}/meta.py",
          'run.assets / settings.weights / str(run.seed)', 'run.assets / settings.weights / "0"', TEST_RATE),
    Fault("a plain proxy without caption dropout", PROXY,
          "caption_dropout=budget.caption_dropout", "caption_dropout=0.0", TEST_RATE),
    Fault("a plain proxy at the rater's learning rate", PROXY,
          "learning_rate=budget.proxy_learning_rate", "learning_rate=budget.rater_learning_rate", TEST_RATE),
    Fault("one rating table for all seeds", "stages/prune.py",
          "table_of(ratings / settings.rater, seed)",
          'table_of(ratings / settings.rater, section("grid.seeds")[0])', "tests/stages/test_prune.py"),
    Fault("what should be dropped is kept", "stages/prune.py",
          "select(table, ratio,", "select(table, 1 - ratio,", "tests/stages/test_prune.py"),
    Fault("the direction of an embedding dropped", "alchemist/raters/embedding.py",
          "settings.direction * measured", "measured", "tests/stages/test_embedding.py"),
    Fault("the direction of a heuristic dropped", "alchemist/raters/pixels.py",
          "direction * measure", "measure", "tests/stages/test_heuristic.py"),
    Fault("all but plain pairs called informative", f"{KINDS}/oracle.py",
          'planted == "informative"', 'planted != "plain"', "tests/stages/test_oracle.py"),
    Fault("the bill of the first checkpoint", "alchemist/models/course.py",
          "each * self.stops[-1]", "each * self.stops[0]", TEST_TRAIN),
    Fault("the held-out loss of a checkpoint taken on pairs that are trained on", TRAIN,
          "Watched.of(data, rows, data.validation(),", "Watched.of(data, rows, rows,", TEST_TRAIN),
    Fault("the first checkpoint called the best", "alchemist/models/course.py",
          "at[VALIDATION] == best", "at[VALIDATION] >= best", TEST_TRAIN),
    # --- files that nobody has looked at
    Fault("each thread with all the memory", "alchemist/pools/memory.py",
          "_used == 0 or _used + amount <= most", "True", "tests/pools/test_memory.py"),
    Fault("a dictionary that counts once for many rows", "alchemist/pools/pages.py",
          "rows * (16 + max(self.dictionary, self.widest))", "max(self.dictionary, self.widest)",
          "tests/pools/test_pages.py"),
    Fault("a link out of the folder", "alchemist/pools/base.py",
          "return path.is_symlink() and not", "return False and not", "tests/pools/test_folder.py"),
    Fault("sources of large numbers that are one as doubles", "alchemist/pools/parquet.py",
          "return name == ORIGIN", "return False", "tests/pools/test_keep.py"),
    Fault("a carried rater said to be trained otherwise", "alchemist/params/here.py",
          "if here != there:", "if False:", "tests/stages/test_check.py"),
    Fault("a turned picture cropped as it lies", "alchemist/pools/image.py",
          "top, bottom = height - bottom, height - top", "pass", "tests/pools/test_image.py"),
    Fault("a caption with the power to turn what follows", "alchemist/report/explore.py",
          "one_line(caption, LETTERS)", "caption", "tests/report/test_page.py"),
    Fault("why by another order of equal ratings than the law's", "alchemist/pruning/laws.py",
          "rating.to_numpy()}), law.seed)", "rating.to_numpy()}), 0)", "tests/report/test_explore.py"),
    Fault("a menu whose brush stays on another rating", "alchemist/report/templates/explore.js",
          'await view.signal("brush_x", [0, 0]).runAsync();', "", "tests/report/test_browser.py"),
    Fault("a dropped copy before the rated pairs of its group", "alchemist/report/groups.py",
          'np.lexsort((places, here["status"] != "ok"))', "np.argsort(places)",
          "tests/report/test_groups.py"),
    Fault("a later checkpoint beside earlier ones", "alchemist/report/templates/samples.js",
          "images <= point", "true", "tests/report/test_browser.py"),
    Fault("arms that begin apart and are not told so", "alchemist/report/provenance.py",
          "if len(counted) > 1", "if not counted", "tests/report/test_provenance.py"),
    Fault("a verdict of a scale that means nothing", "stages/report.py",
          "if not meaningful:", "if False:", "tests/report/test_meaningless.py"),
    # --- the terminal
    Fault("what a run before did as this one's speed", "alchemist/core/progress.py",
          "drawn.initial += done", "pass", "tests/core/test_progress.py"),
    Fault("a log that is held back", "stages/__init__.py",
          "sys.stdout.reconfigure(line_buffering=True)", "pass", "tests/stages/test_stage.py"),
    # --- kills and damage
    Fault("the losses since the last row of the log forgotten", "alchemist/models/training.py",
          '**({"losses": torch.stack(held)} if held else {}),', "", "tests/models/test_training.py"),
    Fault("a state without a digest of its tensors", "alchemist/core/state.py",
          "found.update(value.reshape(-1).view(torch.uint8).numpy().data)", "pass",
          "tests/core/test_scratch.py"),
    Fault("a draft that two may write", "alchemist/core/files.py",
          "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB", "tests/core/test_files.py"),
    Fault("a table that may lose rows", "alchemist/core/tables.py",
          "stated == len(found) and ", "", "tests/core/test_tables.py"),
    Fault("scores that may be changed", "alchemist/analysis/results.py",
          "files.check_manifest(path.parent)", "pass", "tests/report/test_material.py"),
    Fault("verify looks at the cache alone", "stages/verify.py",
          "one.path.exists() and _here(one.path, one.md5) != one.md5", "False",
          "tests/stages/test_verify.py"),
    Fault("a grid of the first checkpoint's samples for all", EVALUATE,
          "pictures.clear()", "pass", TEST_EVALUATE),
    Fault("a digest of ids in the order of their file", "alchemist/core/fingerprint.py",
          "for one in sorted(ids):", "for one in ids:", "tests/core/test_fingerprint.py"),
    Fault("an evaluation that begins anew", "stages/evaluate.py",
          "points[len(checkpoints) :]", "points", "tests/stages/test_evaluate.py"),
    # --- what is adapted
    Fault("pretrained on the pool", "stages/pretrain.py",
          "data.pretraining()", "data.pool()", "tests/test_stages_adapted.py"),
    Fault("adapters on random weights", "alchemist/families/flux/generator.py",
          "self.network = pretrained.load(self.network, settings)", "initialise(self.network, seed)",
          "tests/test_stages_adapted.py"),
    # --- what is no number, and wrong params
    Fault("a gradient that is no number in the weights of a checkpoint", "alchemist/models/training.py",
          "torch.stack([one.loss, one.norm])", "torch.stack([one.loss, one.loss])",
          "tests/models/test_training.py"),
    Fault("a rater's gradient that is no number", STEPS,
          "return taken", "return {}", "tests/raters/test_meta.py"),
    Fault("ids of another step", "alchemist/raters/meta.py",
          "numbers_of(run, split, number)]", "numbers_of(run, split, number + 1)]",
          "tests/raters/test_meta.py"),
    Fault("numbers in quotes without a hint", "alchemist/core/settings/__init__.py",
          'return f" (write {words})"', 'return ""', "tests/params/test_wrong.py"),
    Fault("proxies of families without a model unread", "alchemist/params/families.py",
          '(f"{where}.proxy", other.proxy, family), ', "", "tests/params/test_wrong.py"),
]  # fmt: skip


def catch(fault: Fault) -> str | None:
    """The first test that fails with a fault planted in a copy of the repo; None where all pass."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "repo"
        for name in COPIED:
            ignore = shutil.ignore_patterns("__pycache__")
            if (REPO / name).is_dir():
                shutil.copytree(REPO / name, copy / name, ignore=ignore)
            else:
                copy.mkdir(exist_ok=True)
                shutil.copy(REPO / name, copy / name)
        path = copy / fault.file
        text = path.read_text()
        assert text.count(fault.old) == 1, f"{fault.file} should hold {fault.old!r} once"
        path.write_text(text.replace(fault.old, fault.new))
        # `-m pytest` puts the copy in front of an installed package.
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", fault.tests]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if failed is None:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return failed[1]


def main() -> int:
    """Plants the faults that are named, or all."""
    asked = sys.argv[1:]
    if asked == ["--list"]:
        print("\n".join(fault.name for fault in FAULTS))
        return 0
    unknown = [name for name in asked if name not in {fault.name for fault in FAULTS}]
    if unknown:
        print(f"{unknown[0]!r} is no fault; --list prints their names.", file=sys.stderr)
        return 2
    missed = 0
    for fault in FAULTS:
        if not asked or fault.name in asked:
            caught = catch(fault)
            missed += caught is None
            print(f"{fault.name:<55} {caught or 'NOT CAUGHT'}", flush=True)
    print(f"{missed} not caught" if missed else "all caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
