"""The exceptions of `tailfit.errors`, found by discovery."""

import pickle

import pytest

from tailfit import errors

TREE = [getattr(errors, name) for name in errors.__all__]


def test_all_lists_every_exception():
    found = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert found == set(TREE)


@pytest.mark.parametrize("kind", TREE)
class TestEachError:
    def make(self, kind):
        return kind("gamma=-1.0.", expected="gamma >= 0", fix="use gamma=0")

    def test_the_message_has_three_parts(self, kind):
        expected = "Received gamma=-1.0. Expected gamma >= 0. Fix: use gamma=0."
        assert str(self.make(kind)) == expected

    def test_the_parts_are_keywords(self, kind):
        with pytest.raises(TypeError):
            kind("gamma", "gamma >= 0", "use 0")

    def test_derives_from_tailfit_error_and_a_built_in_exception(self, kind):
        assert issubclass(kind, errors.TailfitError)
        built_in = {ValueError, RuntimeError, OSError, ImportError}
        assert kind is errors.TailfitError or any(issubclass(kind, each) for each in built_in)
        assert kind.__doc__

    def test_survives_pickling(self, kind):
        error = pickle.loads(pickle.dumps(self.make(kind)))
        assert (type(error), str(error), error.fix) == (kind, str(self.make(kind)), "use gamma=0")
