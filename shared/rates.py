"""Success rates, always stated with an interval."""


def wilson(successes: int, attempts: int) -> tuple[float, float]:
    """Wilson score interval of a rate, 95 %; (0, 1) without attempts."""
    if attempts == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest  # a second to load: not before it is needed

    interval = binomtest(successes, attempts).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def rate_with_interval(successes: int, attempts: int) -> dict[str, float]:
    """attempts, successes, rate, low, high: how a success rate is always stated. The rate is NaN-free: 0 without attempts."""
    low, high = wilson(successes, attempts)
    rate = successes / attempts if attempts else 0.0
    return {"attempts": attempts, "successes": successes, "rate": rate, "low": low, "high": high}
