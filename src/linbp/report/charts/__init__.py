"""The charts of a report, as Vega-Lite specifications made with Altair."""

from linbp.report.charts.chart import Chart, Choice
from linbp.report.charts.dots import dot_plot
from linbp.report.charts.lines import success_against_cost, success_against_radius
from linbp.report.charts.transfer import transfer_matrix

__all__ = ["Chart", "Choice", "dot_plot", "success_against_cost", "success_against_radius", "transfer_matrix"]
