"""Settings of every test run."""

from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine's other work than about the code, so no
# example fails for its duration: speed is measured by benchmarks, as ratios within one run.
settings.register_profile(
    "alise", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
# With --timeout=0, since an example takes what it takes and there are many.
settings.register_profile("nightly", settings.get_profile("alise"), max_examples=100_000)
settings.load_profile("alise")
