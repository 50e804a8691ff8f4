"""What carries out a strategy's declaration of negatives."""

from bench.negatives.source import Source, source

__all__ = ["Source", "source"]
