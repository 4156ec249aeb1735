"""Rates, means over victims, comparisons of attacks. Images are the sampling unit, not pairs of image and victim."""

from linbp.evaluation.statistics.bootstrap import Interval, bootstrap_mean, mean_over_victims, resample_counts
from linbp.evaluation.statistics.paired import Difference, difference_by_image, holm, mcnemar, paired_test
from linbp.evaluation.statistics.rates import SATURATED, Rate, rate
from linbp.evaluation.statistics.summary import Statistics, summarise
from linbp.evaluation.statistics.worst_case import worst_case

__all__ = [
    "SATURATED",
    "Difference",
    "Interval",
    "Rate",
    "Statistics",
    "bootstrap_mean",
    "difference_by_image",
    "holm",
    "mcnemar",
    "mean_over_victims",
    "paired_test",
    "rate",
    "resample_counts",
    "summarise",
    "worst_case",
]
