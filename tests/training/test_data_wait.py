"""The share of a run's time that is waiting for batches (pure: the clock is the test's)."""

from training.data_wait import DataWait


class Logged:
    """What a module logs."""

    def log(self, name, value):
        self.name, self.value = name, value


def test_waiting_is_a_share_of_what_steps_take():
    now, logged = [0.0], Logged()
    wait = DataWait(clock=lambda: now[0])

    def batches():
        for seconds in (100.0, 1.0, 2.0):  # the first one is not counted
            now[0] += seconds
            yield seconds

    for number, batch in enumerate(wait.timed(batches())):
        wait.on_train_batch_start(None, logged, batch, number)
        now[0] += 9.0
        wait.on_train_batch_end(None, logged, None, batch, number)
        now[0] += 50.0  # a validation
    assert logged.name == "data_wait_share"
    assert logged.value == (1 + 2) / (1 + 2 + 3 * 9)
