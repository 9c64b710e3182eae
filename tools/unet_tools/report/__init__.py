"""The report of a run: one HTML page that needs nothing else, the same as JSON, and one picture.

Needs matplotlib and jinja2 (the extra `report`), imported when a report is written and not before.
"""

from .model import Example, Report
from .network import plot_network
from .page import write_report

__all__ = ["Example", "Report", "plot_network", "write_report"]
