"""Stage control: everything about the gateway that is not inference.

In come probes, scrapes, model listings and the operator's commands; out go small JSON documents.
One FastAPI application is built twice: without ``admin`` for the inference port and with it for
the admin port. It is a plain ASGI application: no lifespan, no server of its own, no state
beyond the ``ControlView`` that the composition root gives it. This is the only place that
imports FastAPI.
"""
