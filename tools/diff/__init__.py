"""Where two networks part: layer by layer, own error told from inherited error, forward and backward."""

from unet_tools.diff.compare import compare
from unet_tools.diff.modules import compare_modules
from unet_tools.diff.report import Reading, Report, Step

__all__ = ["Reading", "Report", "Step", "compare", "compare_modules"]
