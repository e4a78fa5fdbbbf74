"""Runs as one page: tables and figures in a single HTML file that needs nothing else.

May import :mod:`virtsim.plots`, :mod:`virtsim.validation` and below. Start reading at
:mod:`virtsim.report.page`.
"""

from virtsim.report.page import write_report

__all__ = ["write_report"]
