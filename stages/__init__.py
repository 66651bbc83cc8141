"""The verbs: one command a stage. Paths and params enter here and nowhere else.

What stands in this file is no dep of any stage: it makes them faster, and changes no result.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  before any syntax that an older one stumbles over
    sys.exit("error: this is Python {}.{}; 3.11, 3.12 and 3.13 are legal.".format(*sys.version_info))

from alchemist.core import process

process.prepare()
