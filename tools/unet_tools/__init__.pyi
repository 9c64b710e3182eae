from .diff import compare_modules as compare_modules
