"""A kit for authors of parts and rules: one line of pytest checks all that linbp promises of every attack.

import linbp.testing

def test_shift():
    linbp.testing.check_part("shift(pixels=2)")
"""

from linbp.testing.kit import PartError, check_part, check_rule
from linbp.testing.trial import Trial

__all__ = ["PartError", "Trial", "check_part", "check_rule"]
