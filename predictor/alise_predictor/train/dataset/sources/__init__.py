"""One loader for each published format; a loader gets a folder and yields a ``RawSource``."""
