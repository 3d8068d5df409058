"""The KV tuner: what is seen of a pool's memory becomes a change of its settings, or a reason.

``window`` makes figures out of samples, ``observed`` is the snapshot of them, ``pressure`` says how
much of the KV memory is needed, ``ladder`` which settings could change and what that would give,
``decide`` which one does. All of that is pure. Nothing here scales, drains or deletes.
"""
