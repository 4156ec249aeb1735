"""An audit as Markdown for a pull request: the verdict, one table that fits, the doubts, and the rest folded."""

from __future__ import annotations

from linbp.audit.result import Audit
from linbp.report.audit.summary import exposure_sentences, stamp, status, verdict_sentences
from linbp.report.audit.tables import attacks_table, change_table, controls_table, references_table
from linbp.report.markdown import table_lines, text
from linbp.report.words import interval, percent

__all__ = ["render"]

MARKS = {"failed": "❌", "passed": "✅", "open": "ℹ️", "incomplete": "⚠️"}


def render(audit: Audit) -> str:
    """The audit as GitHub and GitLab read it."""
    state = status(audit)
    lines = [f"## {MARKS[state]} Exposure of {text(audit.victim.name)}: {stamp(audit).lower()}", ""]
    lines += [f"**{text(one)}**\n" for one in verdict_sentences(audit)]
    lines += [
        "| eps | exposure | 95% interval | images | best single | noise | threshold |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one, verdict in zip(audit.radii, audit.verdicts, strict=True):
        limit = "–"
        if verdict.threshold is not None:
            limit = f"{percent(verdict.threshold)} {'❌' if verdict.failed else '✅'}"
        noise = "–" if one.noise is None else percent(one.noise.value)
        cells = [
            text(one.eps_text),
            f"**{percent(one.worst.value)}**",
            interval(one.worst.low, one.worst.high),
            str(one.worst.n),
            percent(one.best.rate.value),
            noise,
            limit,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(text(one) + "  " for one in exposure_sentences(audit)), ""]
    lines += [f"> **{'Serious doubt' if flag.serious else 'Doubt'}.** {text(flag.text)}\n" for flag in audit.flags]
    tables = [attacks_table(audit), controls_table(audit)]
    tables += [references_table(audit)] if audit.references else []
    tables += [change_table(audit)] if audit.baseline is not None else []
    lines += ["<details>", "<summary>Attacks, controls, other networks</summary>", ""]
    for table in tables:
        lines += table_lines(table)
    lines += ["</details>", ""]
    suite = audit.suite
    lines += [f"Suite {text(suite.name)}, version {text(suite.version)}, hash {suite.sha256[:12]}.", ""]
    if audit.command:
        lines += ["```sh", audit.command, "```", ""]
    return "\n".join(lines)
