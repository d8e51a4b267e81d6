"""What is chosen when the user says nothing, by the size of the data. Every choice is printed."""

STEPS_AIMED_AT = 6_000  # enough for a table of any size; more rows also bring more per pass
FEWEST_EPOCHS, MOST_EPOCHS = 10, 100
LEAST_PATIENCE = 10
LONGEST = 2  # times the epochs of `epochs`: how long a run of open length may go on
WARMUP = 0.01  # share of the steps in which a rate that was not raced rises
DROPOUT = 0.1
ROWS_PER_RAMP = 256  # fewer could not tell a ramp's slope from noise
FEWEST_RAMPS, MOST_RAMPS, MOST_RAMPS_TOGETHER = 8, 32, 1024


def hidden_widths(n_train: int) -> tuple[int, ...]:
    """Return two hidden layers: wider where there are rows to learn more from."""
    if n_train < 1_000:
        return (64, 64)
    return (128, 128) if n_train < 10_000 else (256, 256)


def batch_size(n_train: int) -> int:
    """Return the power of two nearest below a hundredth of the rows, from 32 to 1024.

    Small batches are noisier but give more steps per pass; from a thousand rows on, a step costs so much
    more that nothing is gained.
    """
    wanted = max(32, min(1024, n_train // 100))
    return min(1 << (wanted.bit_length() - 1), max(1, n_train))


def epochs(steps_per_epoch: int) -> int:
    """Return how many passes make about `STEPS_AIMED_AT` steps, from 10 to 100."""
    return max(FEWEST_EPOCHS, min(MOST_EPOCHS, round(STEPS_AIMED_AT / steps_per_epoch)))


def patience(epochs: int) -> int:
    """Return how many epochs without a better validation loss are enough: half of them, at least 10.

    The loss often stands still while the rate is high and falls once it is lowered, so a run should
    see most of its schedule before it is given up.
    """
    return max(LEAST_PATIENCE, epochs // 2)


def ramps(n_train: int, n_numbers: int) -> int:
    """Return into how many ramps each number is cut: as many as the rows can teach, 8 to 32, or none.

    All columns together get at most 1024, so that a wide table (an image, say) stays as wide as it is.
    """
    if n_numbers == 0:
        return 0
    count = min(MOST_RAMPS, n_train // ROWS_PER_RAMP, MOST_RAMPS_TOGETHER // n_numbers)
    return count if count >= FEWEST_RAMPS else 0
