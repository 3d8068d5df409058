"""``alise bench engine-trial``: what the engine plugin promises, one question at a time.

Read in this order: ``ask`` (requests and what came back), ``server`` (a real vLLM with the
plugin), a trial (``slots``, ``tier``, ``eviction``, ``changes``), ``trial`` (what they have in
common), ``report``.
"""
