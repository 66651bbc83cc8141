"""From counts to hours, bytes and money on a card. Plain arithmetic."""

from dataclasses import dataclass

from alchemist.core.settings.plan import CardSettings

GIB = 2**30
GRADIENT, MOMENTS, AVERAGE, WEIGHT = 4, 8, 4, 4  # bytes a parameter that training moves, float32
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
    """A network in training: parameters, those that move, bytes of a frozen one, activations of a pair."""

    parameters: int
    moved: int
    frozen_bytes: int
    activation_bytes: float  # a pair, in float32


def training_bytes(network: Trained, pairs: int, precision: str, average: bool) -> float:
    """Peak bytes of training on `pairs` at once.

    Frozen parameters in their type; of each that moves 4 bytes of weight, 4 of gradient, 8 of AdamW's two
    moments and, where there is an average of weights, 4 of that; activations of every pair, under bf16 (and
    auto, which is bf16 on such a card) half of what they take in float32. What libraries hold beside (some
    GiB of CUDA's context and workspaces) is not in it.
    """
    fixed = network.moved * (WEIGHT + GRADIENT + MOMENTS + (AVERAGE if average else 0))
    frozen = (network.parameters - network.moved) * network.frozen_bytes
    kept = 1.0 if precision == "fp32" else 0.5
    return fixed + frozen + pairs * network.activation_bytes * kept


def encoded_bytes(pairs: int, array_bytes: int, pieces: int, width: int, pooled: int) -> float:
    """Bytes of encoded pairs, if no caption comes twice: arrays, states of word pieces, pooled vectors."""
    return float(pairs) * (array_bytes + TEXT_BYTES * (pieces * width + pooled))
