"""Help as plain text, options grouped by topic: typer's boxes would take longer to import than the rest to run."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class GroupedCommand(TyperCommand):
    """A command whose `--help` lists its options under the panels that they were declared with."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section for each panel, in the order of the declarations.

        Args:
            ctx: typer's context of the call.
            formatter: takes the text.
        """
        panels: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            row = param.get_help_record(ctx)
            if row is not None:
                name, text = row
                row = name.partition(" <")[0], text  # without the type of an argument
                panels.setdefault(getattr(param, "rich_help_panel", None) or "Options", []).append(row)
        for title, rows in panels.items():
            with formatter.section(title):
                formatter.write_dl(rows)
