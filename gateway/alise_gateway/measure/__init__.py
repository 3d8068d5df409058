"""Stage measure: what one finished request leaves behind.

In comes a ``RequestRecord`` (and, where spans are exported, its trace); out go metrics, one log
line and one span. The whole accounting runs on the event loop and is part of what a request
costs, so its storage and its encoder are chosen by measurement (docs/design/0003). The stage
refuses to wait: a sink that does not keep up loses lines, counted, and never holds a request.
``recorder`` is the entry point; the next stage in the flow is ``learn``.
"""
