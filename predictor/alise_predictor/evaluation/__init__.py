"""How good predictions are: figures, files of anybody's requests, tables and plots."""
