"""Victims' predictions become records, and records become rates with intervals."""

from linbp.evaluation.evaluate import Evaluation, evaluate
from linbp.evaluation.folder import FolderEvaluation, evaluate_folder, write_csv
from linbp.evaluation.predict import Classifier
from linbp.evaluation.records import Record
from linbp.evaluation.statistics import Rate, Statistics, rate, summarise

__all__ = [
    "Classifier",
    "Evaluation",
    "FolderEvaluation",
    "Rate",
    "Record",
    "Statistics",
    "evaluate",
    "evaluate_folder",
    "rate",
    "summarise",
    "write_csv",
]
