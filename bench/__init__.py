"""negbench: which negatives should a retrieval model be trained with, and is the difference real?"""

__version__ = "0.1.0"
