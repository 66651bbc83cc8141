"""Numbers in words: how a figure, a share and a count are written, for sentences and tables alike."""

import math

MINUS, DASH, TIMES = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
POINTS = {"equal_epochs": "equal epochs", "equal_images": "equal images"}
BEST = "best"  # of each cell the checkpoint of least meta-validation loss, where the pool has such pairs
EQUAL_COST = "equal_cost"  # see alchemist.analysis.equal_cost
ALL_POINTS = POINTS | {BEST: "the best checkpoint", EQUAL_COST: "equal cost"}


def number(value: float | None, digits: int = 0, sign: bool = False) -> str:
    """A number with thousands marked and a true minus; a dash where there is none."""
    if value is None or math.isnan(value):
        return DASH
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")  # no minus zero
    return text.replace("-", MINUS).replace("inf", "\N{INFINITY}")


def three_digits(value: float, sign: bool = True) -> str:
    """Three digits that count, with a true minus."""
    plus = "+" if sign and value != 0 else ""
    text = f"{value:{plus},.0f}" if abs(value) >= 1000 else f"{value:{plus}.3g}"
    return text.replace("-", MINUS)


def percent(share: float) -> str:
    """A share in percent with a space, as prose writes it."""
    return f"{100 * share:g} %"


def meaningless(scale: str) -> str:
    """What is said of every figure of a scale that is not `meaningful`."""
    return f"The scale {scale} is for a look at the parts: so short a run has no figure that means anything."


def several(count: int, noun: str) -> str:
    """A count and its noun, in the plural where it should be."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def capital(text: str) -> str:
    """A text as it begins a sentence."""
    return text[:1].upper() + text[1:]


def is_or_are(count: int) -> str:
    """The verb of a count."""
    return "is" if count == 1 else "are"
