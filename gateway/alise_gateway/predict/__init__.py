"""Stage predict: how long will the answer to this request probably be?

In comes a routed request's content, out goes a distribution of its output tokens. Tier 0 answers
on the event loop in some tens of microseconds; tier 1 refines only what waits in the queue, on a
thread. Whatever goes wrong ends in a fallback and a counter, never in a request that fails or
waits. The bundle is loaded off the loop and replaced while requests run. ``predictor.Predictor``
is the entrance; the next stage in the flow is ``queueing``, and ``learn`` closes the circle.
"""
