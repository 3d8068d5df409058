"""A simulated vLLM engine: its HTTP surface, scheduling, KV accounting and failure modes.

Inside out: ``step_model`` (how long one step takes), ``kv_cache`` (paged blocks and prefix
cache) and ``scheduler`` (who runs in a step) are pure and serve any clock; ``engine`` paces
them in real time for ``app`` and ``server``, ``virtual`` runs them as a discrete-event
simulation. No model is evaluated: output is words from a list, output length comes from a
replay table or a distribution that only the simulator knows.
"""
