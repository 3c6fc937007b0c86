"""The report of a finished run: one HTML file that needs neither a network nor a server."""

from .write import write_report

__all__ = ["write_report"]
