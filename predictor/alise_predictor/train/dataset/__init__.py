"""Prompts with measured answer lengths, from many sources, without leaks between splits.

``load.load_corpus`` is the entry point; ``split`` offers the ways to hold data out and ``card``
describes what a corpus is made of.
"""

from alise_predictor.train.dataset.corpus import Answers, Corpus, Prompt
from alise_predictor.train.dataset.load import load_corpus

__all__ = ["Answers", "Corpus", "Prompt", "load_corpus"]
