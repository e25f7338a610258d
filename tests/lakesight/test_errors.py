"""What a user is told, whatever an error went through on its way."""

import pickle

from lakesight.errors import TableError, of_full_disk


def test_a_message_stays_what_it_was_whoever_adds_to_it():
    error = TableError("a file is gone", where="part-0", fix="read a later version")
    error.args = (f"{error.args[0]}\nFailed to apply UDF transform after 1/1 attempts.",)  # as Ray Data does
    again = pickle.loads(pickle.dumps(error))
    for one in (error, again):
        assert str(one) == "a file is gone\n  where:    part-0\n  to do:    read a later version"
        assert one.what == "a file is gone"


def test_an_error_that_came_of_itself_is_looked_at_once():
    error, other = RuntimeError("worker errors"), OSError(28, "No space left on device")
    error.__cause__ = error
    assert of_full_disk(error) is None
    error.__cause__, other.__cause__ = other, error
    assert "No space left on device" in str(of_full_disk(error))
