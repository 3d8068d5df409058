"""Stage discovery: which backends there are, what they serve and how they are doing.

``registry`` is what the other stages read; ``prober`` keeps it true by asking the backends, and
``scraper`` reads their metrics; ``catalogue``, ``health`` and ``engine_metrics`` decide, without
I/O, what an answer means. Backends come from settings, and from a cluster where ``kubernetes`` (a
package of its own) follows one. Choosing a backend for a request is placement's business.
"""
