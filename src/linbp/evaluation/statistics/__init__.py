"""Rates, means over victims, comparisons of attacks. Images are the sampling unit, not pairs of image and victim."""

from linbp.evaluation.statistics.bootstrap import Interval, bootstrap_mean, mean_over_victims, resample_counts
from linbp.evaluation.statistics.exposure import (
    ClassRate,
    ImageCount,
    WorstCase,
    count_images,
    rate_classes,
    worst_cases,
)
from linbp.evaluation.statistics.outcomes import Attack, Outcomes, distinct
from linbp.evaluation.statistics.paired import (
    Difference,
    difference_by_image,
    holm,
    mcnemar,
    paired_differences,
    paired_test,
)
from linbp.evaluation.statistics.pairs import Pair, compare_tables
from linbp.evaluation.statistics.rates import SATURATED, Rate, rate
from linbp.evaluation.statistics.sign_flips import sign_flip_p
from linbp.evaluation.statistics.standings import (
    Comparison,
    Setting,
    Standing,
    clean_rates,
    compare_with_best,
    settings_of,
    standings,
)
from linbp.evaluation.statistics.stealth import JPEG_QUALITIES, Stealth, ssim, stealth, survival
from linbp.evaluation.statistics.summary import Statistics, summarise
from linbp.evaluation.statistics.worst_case import worst_case

__all__ = [
    "JPEG_QUALITIES",
    "SATURATED",
    "Attack",
    "ClassRate",
    "Comparison",
    "Difference",
    "ImageCount",
    "Interval",
    "Outcomes",
    "Pair",
    "Rate",
    "Setting",
    "Standing",
    "Statistics",
    "Stealth",
    "WorstCase",
    "bootstrap_mean",
    "clean_rates",
    "compare_tables",
    "compare_with_best",
    "count_images",
    "difference_by_image",
    "distinct",
    "holm",
    "mcnemar",
    "mean_over_victims",
    "paired_differences",
    "paired_test",
    "rate",
    "rate_classes",
    "resample_counts",
    "settings_of",
    "sign_flip_p",
    "ssim",
    "standings",
    "stealth",
    "summarise",
    "survival",
    "worst_case",
    "worst_cases",
]
