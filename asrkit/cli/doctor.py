"""``asrkit doctor``: what is installed and found here, what is wrong with it, and what to do."""

from __future__ import annotations

import itertools
import json
import sys

import attrs
import click

from asrkit import __version__
from asrkit.cli.checks import ADVICE, PROBLEM, Finding, examine
from asrkit.cli.options import Command, option
from asrkit.cli.tables import table

__all__ = ["command"]


@click.command("doctor", cls=Command)
@option(
    "--format",
    "format_name",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json is for reports of bugs.",
)
@click.pass_context
def command(ctx: click.Context, format_name: str) -> None:
    """Check the installation and say what to do about problems.

    Versions, plugins, backends, the cache, ffmpeg, variables of the environment. No value of a token is shown. The exit
    code is 1 if there is a problem; advice is none.

    \b
    Examples:
      asrkit doctor
      asrkit doctor --format json > doctor.json
    """
    findings = list(examine(ctx))
    problems = sum(finding.state == PROBLEM for finding in findings)
    if format_name == "json":
        report = {"asrkit": __version__, "problems": problems, "findings": [attrs.asdict(one) for one in findings]}
        click.echo(json.dumps(report, indent=2))
    else:
        _write(findings)
        advice = sum(finding.state == ADVICE for finding in findings)
        click.echo(f"\n{problems or 'no'} problem{'s' * (problems != 1)}, {advice or 'no'} advice")
    if problems:
        sys.exit(1)


def _write(findings: list[Finding]) -> None:
    """A table with a heading for each section."""
    rows: list[tuple[str, ...]] = []
    for section, group in itertools.groupby(findings, lambda finding: finding.section):
        rows.append((section,))
        for finding in group:
            text = f"{finding.text} -> {finding.todo}" if finding.todo else finding.text
            rows.append((f"  {finding.state}", finding.name, text))
    table(rows)
