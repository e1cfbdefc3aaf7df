"""What transformers would import here and nobody asks it for."""

from __future__ import annotations

import sys
from typing import Any

CANDIDATES = "transformers.generation.candidate_generator"
"""Speculative decoding with a draft model. Of sklearn it takes one curve, and with that come pandas and most
of scipy: a fifth of the processor time in which a process gets ready to rank.
"""


def without_sklearn() -> None:
    """Have transformers do without sklearn, as it does where that is not installed: to be called before
    anything that imports its models. Where they have been imported already, all stays as it is.

    A draft model's threshold is then not tuned while it writes; no engine here has a draft model.
    """
    if CANDIDATES in sys.modules:
        return
    from transformers import utils as found

    utils: Any = found
    known = utils.is_sklearn_available
    utils.is_sklearn_available = lambda: False
    try:
        import transformers.generation.candidate_generator  # noqa: F401 - that it keeps what it was told
    finally:
        utils.is_sklearn_available = known
