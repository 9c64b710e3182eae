"""The report of a run: a self-contained HTML page, its data as JSON, and a picture.

Needs matplotlib and jinja2 (the extra `report`), which are imported only when a report is written.
"""

from .model import Example, Report
from .network import plot_network
from .page import write_report

__all__ = ["Example", "Report", "plot_network", "write_report"]
