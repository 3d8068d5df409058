"""Stage discovery: which backends there are, what they serve and how they are doing.

``registry`` is what the other stages read; ``prober`` keeps it true by asking the backends, and
``scraper`` reads their metrics; ``catalogue``, ``health`` and ``engine_metrics`` decide, without
I/O, what an answer means. Backends come from settings; a watcher of a cluster uses the registry's
``add`` and ``remove`` in the same way. Choosing a backend for a request is placement's business.
"""
