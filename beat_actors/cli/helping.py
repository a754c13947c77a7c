"""How help is printed: as plain text, so that what is typed stands in backticks there, too."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts.help import HelpPanel
    from rich.console import Console, ConsoleOptions, RenderableType


class Flowing:
    """cyclopts' own form of help, with texts whose lines end where the screen ends.

    As Markdown they would do so, too, but the library that reads it takes a third of the CPU time of `beat --help`. As plain text a line ends
    where that of the docstring does, and blank lines alone are wanted.
    """

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        from cyclopts.help.formatters import DefaultFormatter
        from rich.text import Text

        panel.title = Text(str(panel.title))  # in a `str` rich looks for emoji, and loads all of them first
        for entry in panel.entries:
            _flow(entry.description)
        DefaultFormatter()(console, options, panel)

    def render_usage(self, console: "Console", options: "ConsoleOptions", usage: "RenderableType") -> None:
        from cyclopts.help.formatters import DefaultFormatter

        DefaultFormatter().render_usage(console, options, usage)

    def render_description(self, console: "Console", options: "ConsoleOptions", description: "RenderableType") -> None:
        from cyclopts.help.formatters import DefaultFormatter

        _flow(description)
        DefaultFormatter().render_description(console, options, description)


def _flow(described: object) -> None:
    """Join the lines of each paragraph."""
    from rich.text import Text

    text = getattr(described, "primary_renderable", None)
    if isinstance(text, Text):
        text.plain = "\n\n".join(" ".join(part.split()) for part in text.plain.split("\n\n"))
