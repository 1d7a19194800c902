"""How the fleet scores its drivers: a module of the repo itself, which the on-demand view imports."""


def reliability(conv_rate: float, acc_rate: float) -> float:
    """Return the harmonic mean of two rates: both must be high."""
    total = conv_rate + acc_rate
    return 2 * conv_rate * acc_rate / total if total else 0.0
