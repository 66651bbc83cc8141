"""From counts to hours, bytes and money on a card. Plain arithmetic."""

from dataclasses import dataclass

from alchemist.core.settings.plan import CardSettings

GIB = 2**30
GRADIENT, MOMENTS, AVERAGE, WEIGHT = 4, 8, 4, 4  # bytes a parameter that training moves, float32
CAST = 2  # of its copy in bfloat16
FEATURE_BYTES = 4  # a number of an image's features, float32
TEXT_BYTES = 2  # a number of a caption's states, float16
RATING_BYTES = 48  # a row of a table of ratings or ids: an id of some forty letters and a number, as parquet
INDEX_BYTES = 200  # a row of the pool's index, with its caption


def hours(flops: float, card: CardSettings) -> float:
    """Hours of one card: flops / (peak x utilisation) / 3,600."""
    return flops / (card.tflops * 1e12 * card.utilisation) / 3600


def money(flops: float, card: CardSettings) -> float:
    """Its price in the card's currency."""
    return hours(flops, card) * card.price_per_hour


@dataclass(frozen=True)
class Trained:
    """A network in training: parameters, those that move, and bytes: of a frozen one, and of a pair's
    activations and its place in a batch, both in float32."""

    parameters: int
    moved: int
    frozen_bytes: int
    activation_bytes: float
    input_bytes: float

    def held(self, precision: str, average: bool) -> float:
        """Bytes beside activations, however few pairs pass at once.

        Frozen parameters in their type; of each that moves 4 bytes of weight, 4 of gradient, 8 of AdamW's two
        moments and, where there is an average of weights, 4 of that; under bf16 the copies that autocasting
        makes of float32 weights, which wait for the backward pass.
        """
        frozen = self.parameters - self.moved
        each = WEIGHT + GRADIENT + MOMENTS + (AVERAGE if average else 0)
        wide = self.moved + (frozen if self.frozen_bytes == WEIGHT else 0)
        return self.moved * each + frozen * self.frozen_bytes + (0 if precision == "fp32" else CAST * wide)

    def kept(self, precision: str) -> float:
        """Bytes of a pair's activations: half under bf16, and auto, which is bf16 on such a card."""
        return self.activation_bytes * (1.0 if precision == "fp32" else 0.5)


@dataclass(frozen=True)
class Peak:
    """Most bytes of a process: in all, those that stay however few go through at once, those of one more, and
    the most that may go at once. What libraries hold beside (some GiB of CUDA's) is not in it."""

    bytes: float
    fixed: float
    each: float
    limit: int

    def most(self, memory: float) -> int:
        """How many may go through at once in so many bytes; 0 where not even one fits."""
        left = memory - self.fixed
        return self.limit if self.each * self.limit <= left else max(0, int(left // self.each))


def training(network: Trained, batch: int, chunk: int | None, precision: str, average: bool) -> Peak:
    """Of training on batches, `chunk` pairs at a time or all at once."""
    fixed = network.held(precision, average) + batch * network.input_bytes
    each, at_once = network.kept(precision), min(chunk or batch, batch)
    return Peak(fixed + at_once * each, fixed, each, batch)


def rating(
    proxy: Trained, rater: Trained, copies: float, exact: float, batch: int, chunk: int | None, precision: str
) -> Peak:
    """Of training a rater beside its proxy, both without an average of weights.

    `copies`: further bytes of each parameter that the proxy moves; `exact`: float32 bytes that a pair takes
    in the passes of exact credits, or 0. In chunks below the batch one network's pass is alive at a time; of
    whole batches the rater's graph waits while the proxy steps on both batches.
    """
    fixed = proxy.held(precision, False) + rater.held(precision, False) + copies * proxy.moved
    fixed += 2 * batch * (proxy.input_bytes + rater.input_bytes)
    of_proxy, of_rater = proxy.kept(precision), rater.kept(precision)
    of_credit = exact * (1.0 if precision == "fp32" else 0.5)
    each = max(of_proxy, of_rater, of_credit)
    if chunk is not None and chunk < batch:
        return Peak(fixed + chunk * each, fixed, each, batch - 1)
    at_once = min(chunk or 2 * batch, 2 * batch)
    most = max(at_once * of_proxy, min(at_once, batch) * of_credit) + batch * of_rater
    return Peak(fixed + most, fixed, each, batch - 1)


def passing(weights: float, alive: float, batch: int) -> Peak:
    """Of networks that nothing trains: bytes of their weights, and of one of `batch` inputs."""
    return Peak(weights + batch * alive, weights, alive, batch)


def encoded_bytes(pairs: int, array_bytes: int, pieces: int, width: int, pooled: int) -> float:
    """Bytes of encoded pairs, if no caption comes twice: arrays, states of word pieces, pooled vectors."""
    return float(pairs) * (array_bytes + TEXT_BYTES * (pieces * width + pooled))
