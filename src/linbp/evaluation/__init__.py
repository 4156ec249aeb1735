"""From victims' predictions to records, and from records to success rates with intervals."""

from linbp.evaluation.csv_lines import attack_facts, csv_lines, write_csv
from linbp.evaluation.evaluate import Evaluation, evaluate
from linbp.evaluation.folder import FolderEvaluation, evaluate_folder
from linbp.evaluation.records import Record
from linbp.evaluation.selection import Select, Selection, select_every_victim
from linbp.evaluation.statistics import Rate, Statistics, rate, summarise
from linbp.evaluation.victim_input import VictimInput

__all__ = [
    "Evaluation",
    "FolderEvaluation",
    "Rate",
    "Record",
    "Select",
    "Selection",
    "Statistics",
    "VictimInput",
    "attack_facts",
    "csv_lines",
    "evaluate",
    "evaluate_folder",
    "rate",
    "select_every_victim",
    "summarise",
    "write_csv",
]
