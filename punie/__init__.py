"""A notebook-first laboratory for tuning local models to call tools."""

import os

__version__ = "0.1.0"

os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # it advises to install PyTorch, which punie does not use
