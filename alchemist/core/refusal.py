"""The one exception that means: a person's mistake, told in one sentence, without a traceback."""


class Refusal(ValueError):
    """Its text names what was given and what is legal."""
