"""Stage learn: what finished answers teach about the next predictions.

In come finished requests whose length is known, out go corrections for their tenant's and model's
next ones, in place. Learning happens after the answer, a few at a time between other callbacks, and
gives up the oldest where it does not keep up. ``answers.AnswerLearner`` is the entrance;
``snapshots`` carries what was learned over a restart.
"""
