"""The reports of runs and studies: HTML files that need neither a network nor a server."""

from .study_page import write_study_page
from .write import write_report

__all__ = ["write_report", "write_study_page"]
