"""A notebook-first laboratory for tuning local models to call tools."""

import os

__version__ = "0.1.0"

# transformers would advise to install PyTorch, which punie does not use
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # a command says one line, and no library says others
