"""What one cell of each kind takes: counted once a model, on `meta`, by the settings in force."""

from functools import cache
from pathlib import Path
from typing import Any

from alchemist.core.settings.budget import TrainSettings
from alchemist.core.settings.rater import SeededRater
from alchemist.core.settings.scale import ScaleSettings
from alchemist.core.settings.text import of_family
from alchemist.models import outline as counts
from alchemist.models import text_outline
from alchemist.models.batch import Batch, Chance
from alchemist.models.family import Generator
from alchemist.models.outline import PROBE, Fixed, Outline, Size
from alchemist.models.training import forward_flops
from alchemist.params.whole import Params
from alchemist.plan import cost, networks
from alchemist.plan.pairs import Pairs
from alchemist.plan.remembered import Remembered
from alchemist.raters import forecast
from alchemist.raters.kinds.meta import MetaRater


class Estimates:
    """Counts by the names that params.yaml has; nothing is counted twice."""

    def __init__(self, params: Params, pairs: Pairs, assets: Path) -> None:
        self.params, self.pairs, self.assets = params, pairs, assets
        self.scale: ScaleSettings = params.scales[params.scale]
        self.remembered = Remembered()  # the mode to ask in, for speed alone
        # The network of a model that adapts one, under a name that no block can have.
        self.models = {
            **params.models,
            **{self.whole(name): m.whole() for name, m in params.models.items() if m.adapts},
        }
        for name in (
            "outline", "generator", "size", "forward", "trained", "sampling", "drawing", "_drawn", "rating",
            "encoding", "features", "scorer",
        ):  # fmt: skip
            setattr(self, name, cache(getattr(self, name)))  # of this object alone

    @staticmethod
    def whole(model: str) -> str:
        """The name under which the network is counted that a model adapts."""
        return f"{model}, whole"

    def train_of(self, model: str) -> tuple[str, TrainSettings]:
        """The budget of a model's training, and the key of its block."""
        block = f"train_of.{model}" if model in self.scale.train_of else "train"
        return f"scales.{self.params.scale}.{block}", self.scale.budget(model)

    def pieces(self, family: str) -> int:
        """Word pieces of a caption, at the most: shorter captions cost less."""
        return of_family(self.scale.encode.text, family).pieces

    def outline(self, family: str) -> Outline:
        """A family with its codec, at the pool's resolution."""
        resolution = self.params.pools[self.params.pool].resolution
        return counts.outline(family, self.params.codecs[family], resolution, self.assets)

    def generator(self, model: str) -> Generator:
        """A model's network; its gradients and weights are never there."""
        settings = self.models[model]
        return self.outline(settings.family).generator(settings)

    def size(self, model: str) -> Size:
        """Its parameters and the bytes of its checkpoint."""
        return counts.size(self.generator(model))

    def batch(self, model: str, count: int = PROBE) -> Batch:
        """Pairs without values, with captions of full length."""
        settings = self.models[model]
        return self.outline(settings.family).batch(settings, count, self.pieces(settings.family))

    def forward(self, model: str) -> float:
        """FLOPs an image of a forward pass in training."""
        return counts.loss_flops(self.generator(model), self.batch(model), training=True)

    def trained(self, model: str) -> cost.Trained:
        """What its training holds."""
        settings, size = self.models[model], self.size(model)
        network, batch = self.generator(model), self.batch(model)

        def loss() -> Any:
            return network.losses(batch, Chance.run(0, 0, PROBE, training=True)).mean()

        kept = counts.activation_bytes(network, loss, PROBE)
        frozen = self.outline(settings.family).frozen_bytes(settings)
        return cost.Trained(size.parameters, size.moved, frozen, kept, counts.batch_bytes(batch) / PROBE)

    def training(self, model: str, budget: TrainSettings) -> cost.Peak:
        """Most bytes of its training by a budget."""
        return cost.training(self.trained(model), budget.batch, budget.chunk, budget.precision, average=True)

    def sampling(self, model: str) -> float:
        """FLOPs of an image that a trained model draws and its codec decodes, and of its own pair's loss."""
        flops, network = self._drawn(model)[0], self.generator(model)
        if network.likelihood is not None:
            flops += counts.loss_flops(network, self.batch(model), training=False)
        return flops

    def drawing(self, model: str) -> cost.Peak:
        """Most bytes of measuring it: its weights and its codec's, and what draws or measures a batch."""
        settings, count = self.models[model], self.scale.evaluate.batch
        outline, network = self.outline(settings.family), self.generator(model)
        weights = counts.weight_bytes(network, outline.frozen_bytes(settings)) + counts.held_bytes(
            outline.codec
        )
        fixed = [*self.features(), self.scorer()[0]]
        weights += sum(one.weight_bytes for one in fixed)
        return cost.passing(weights, max(self._drawn(model)[1], *(one.alive for one in fixed)), count)

    def _drawn(self, model: str) -> tuple[float, float]:
        """FLOPs of an image that a model draws and its codec decodes, and bytes alive, a batch at once."""
        settings, count = self.models[model], self.scale.evaluate.batch
        network, codec = self.generator(model), self.outline(settings.family).codec
        text, law = self.batch(model, count).text, self.scale.sample[settings.family]
        flops, most = counts.passed(
            lambda: network.sample(text, text, Chance.run(0, 0, count), law),
            [*counts.held(network), *counts.held(codec)],
        )
        return flops / count, most / count

    def features(self) -> list[Fixed]:
        """The networks that `evaluate` takes features by, that of `features` first."""
        asked = self.scale.evaluate
        return [networks.features(name, asked.feature_size) for name in asked.networks]

    def scorer(self) -> tuple[Fixed, Fixed]:
        """The towers of images and of captions of the scorer."""
        return networks.scorer(self.scale.evaluate.clip, self.scale.scorer.image_size)

    def encoding(self, family: str) -> tuple[float, float, cost.Peak]:
        """FLOPs of encoding a pair, bytes that it leaves, and most bytes of the stage."""
        family_models = [m for m in self.params.models.values() if m.family == family]
        named = [self.models[name] for name in self._models_of(family)] or family_models
        outline, array = self.outline(family), 0
        for stored in outline.arrays.values():
            values = 1
            for side in stored.shape:
                values *= side
            array += values * stored.bytes
        width, pooled = outline.text_widths(named[0])
        text, count = of_family(self.scale.encode.text, family), self.scale.encode.batch
        pooled = pooled if text.kind != "minilm" else 0  # whose pooled vector is the mean of the states
        towers = text_outline.towers(text)
        flops, most = counts.passed(lambda: outline.encode(count), counts.held(outline.codec))
        weights = counts.held_bytes(outline.codec) + sum(one.weight_bytes for one in towers)
        peak = cost.passing(weights, max(most / count, *(one.alive for one in towers)), count)
        flops = flops / count + sum(one.flops for one in towers)
        return flops, cost.encoded_bytes(1, array, text.pieces, width, pooled), peak

    def recoding(self, family: str) -> tuple[float, cost.Peak]:
        """FLOPs of encoding and decoding an image, as the floors have it, and most bytes of that stage."""
        outline, count = self.outline(family), self.scale.evaluate.batch

        def through(images: int) -> None:
            outline.encode(images)
            outline.decode(images)

        flops, most = counts.passed(lambda: through(count), counts.held(outline.codec))
        fixed = [self.features()[0], *self.scorer()]
        weights = counts.held_bytes(outline.codec) + sum(one.weight_bytes for one in fixed)
        return flops / count, cost.passing(weights, max(most / count, *(one.alive for one in fixed)), count)

    def played(self, family: str) -> tuple[str, str]:
        """The models that play proxy and rater where a family rates."""
        of = self.params.grid.others.get(family, self.params.roles)
        return of.proxy, of.rater

    def rating(self, rater: str, proxy: str, trunk: str) -> tuple[float, float, cost.Peak | None]:
        """FLOPs of training a rater and of rating a pair with it, and most bytes of the training, if any."""
        settings, budget = self.params.raters[rater], self.scale.rate
        assert isinstance(settings, SeededRater)
        of_trunk = self.models[trunk]
        outline = self.outline(of_trunk.family)

        def fresh_proxy() -> Generator:
            one = self.models[proxy]
            return outline.generator(one)

        def fresh_rater() -> Any:
            return forecast.network(lambda: outline.trunk(of_trunk))

        whole = budget.model_copy(update={"chunk": None})  # the fewest passes
        train = forecast.train_flops(
            settings, whole, self.batch(proxy, budget.batch), fresh_proxy, fresh_rater
        )
        if train and isinstance(settings, MetaRater) and (budget.chunk or budget.batch) < budget.batch:
            # In chunks the trunk passes forward once more, in the steps that train the rater.
            again = forward_flops(fresh_rater().features, self.batch(proxy), training=True)
            train += (1 - (settings.reference_warmup or 0.0)) * again * budget.images
        score = forecast.score_flops(settings, self.batch(proxy), self.generator(proxy), fresh_rater())
        if train == 0:
            return train, score, None
        batch, chunk, precision = budget.batch, budget.chunk, budget.precision
        if not isinstance(settings, MetaRater):
            return train, score, cost.training(self.trained(proxy), batch, chunk, precision, average=True)
        network, pairs = fresh_rater(), self.batch(trunk)

        def loss() -> Any:
            features = network.features(pairs, Chance.run(0, 0, PROBE, training=True))
            return network.logits(features).mean()

        kept = counts.activation_bytes(network, loss, PROBE)
        every = sum(p.numel() for p in network.parameters())
        ours = cost.Trained(every, every, 4, kept, 0.0)  # it sees the proxy's batches
        exact = forecast.exact_bytes(
            settings, budget, lambda count: self.batch(proxy, count), fresh_proxy(), fresh_rater()
        )
        copies = forecast.copies(settings)
        peak = cost.rating(self.trained(proxy), ours, copies, exact, batch, chunk, precision)
        return train, score, peak

    def _models_of(self, family: str) -> list[str]:
        """Models in use of a family, by their names."""
        grid, roles = self.params.grid, self.params.roles
        used = [*grid.whole(), *grid.transfer.models, roles.proxy, roles.rater]
        used += [name for other in grid.others.values() for name in (other.proxy, other.rater)]
        return [name for name in used if self.models[name].family == family]
