"""Which request of a running engine goes next, and which one gives way; pure.

Read in this order:

- ``work``: a request, as far as the order is concerned; ``forecast`` what is expected of it;
  ``hints`` reads that off the request; ``pace`` how fast the engine is.
- ``policies``: what a request costs, by each of the policies.
- ``line``: the requests that wait, in order, without ever sorting them anew.
- ``preemption``: which running request gives way, if any may.
- ``order``: all of it together, with counters; what the scheduler talks to.

Class always comes first: no cost, however small, lets a request pass one of a better class.
"""
