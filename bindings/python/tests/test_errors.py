"""One class for each kind of error, and what a user would catch."""

import pickle

import pytest

import framelane
from framelane._framelane import _error_table, _raise_kind

BUILTIN = {
    "InvalidName": ValueError,
    "NotFound": FileNotFoundError,
    "NoSpace": OSError,
    "PermissionDenied": PermissionError,
    "FrameTooLarge": ValueError,
    "InvalidFrame": ValueError,
    "Timeout": TimeoutError,
    "InvalidOption": ValueError,
    "SystemFailure": OSError,
}


@pytest.mark.parametrize(("kind", "code", "name", "hint", "cls"), _error_table())
def test_each_error_kind_has_a_class_number_and_name(kind, code, name, hint, cls):
    assert cls.__name__ == name
    assert issubclass(cls, framelane.Error)
    assert getattr(framelane, cls.__name__) is cls and cls.__name__ in framelane.__all__
    assert (cls.__module__, cls.code, cls.kind) == ("framelane", code, kind)
    assert cls.__doc__ and cls.hint == hint
    builtin = BUILTIN.get(cls.__name__)
    expected = {framelane.Error, cls} | ({builtin} if builtin else set())
    assert expected <= set(cls.__mro__)
    with pytest.raises(cls, match="found a test. Hint: none is needed") as caught:
        _raise_kind(code)
    assert type(caught.value) is cls
    assert (caught.value.code, caught.value.kind, caught.value.hint) == (code, kind, "none is needed")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_error_without_a_hint_has_that_of_its_kind():
    with pytest.raises(framelane.InvalidName) as caught:
        raise framelane.InvalidName("found")
    assert caught.value.hint == framelane.InvalidName.hint and "letters" in caught.value.hint


def test_the_numbers_are_dense_and_the_names_unique():
    codes = [code for _, code, *_ in _error_table()]
    assert codes == list(range(1, len(codes) + 1))
    assert len({cls for *_, cls in _error_table()}) == len(codes)
    assert len({kind for kind, *_ in _error_table()}) == len(codes)


def test_all_names_what_the_package_has():
    for name in framelane.__all__:
        assert hasattr(framelane, name)
    public = {name for name in vars(framelane._framelane) if not name.startswith("_")}
    assert public <= set(framelane.__all__)


def test_a_second_publisher_is_told_who_has_the_channel(publisher):
    import os

    with pytest.raises(framelane.ChannelBusy, match=str(os.getpid())) as caught:
        framelane.Publisher("cam0")
    assert caught.value.hint


def test_a_missing_channel_is_a_timeout_that_says_what_to_do():
    for timeout in [0, 0.01]:
        with pytest.raises(framelane.Timeout, match="no channel nothing") as caught:
            framelane.Subscriber("nothing", open_timeout=timeout)
        assert isinstance(caught.value, TimeoutError) and "publisher" in caught.value.hint


def test_a_directory_that_is_not_ours_is_refused(directory, monkeypatch):
    monkeypatch.setenv("FRAMELANE_DIR", "/dev/null")
    with pytest.raises(framelane.Error):
        framelane.Publisher("cam0")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"delivery": "all"}, ValueError),
        ({"delivery": None}, TypeError),
        ({"open_timeout": -1}, ValueError),
        ({"open_timeout": float("nan")}, ValueError),
        ({"open_timeout": "1"}, TypeError),
        ({"spin_us": -1}, OverflowError),
        ({"channel": "a b"}, framelane.InvalidName),
    ],
)
def test_a_subscriber_refuses_wrong_options(publisher, options, error):
    with pytest.raises(error):
        framelane.Subscriber(**{"channel": "cam0", "open_timeout": 0, **options})


@pytest.mark.parametrize("timeout", [-0.5, float("nan"), float("-inf"), "soon", [1]])
def test_a_wrong_timeout_is_refused(subscriber, timeout):
    with pytest.raises((ValueError, TypeError)):
        subscriber.recv(timeout=timeout)


@pytest.mark.parametrize("arguments", [(3.5, 1, 1), ("cam0", -1, 1), ("cam0", 1, "x"), ("cam0",)])
def test_a_wrong_frame_id_is_refused(arguments):
    with pytest.raises((TypeError, OverflowError)):
        framelane.FrameId(*arguments)


def test_a_wrong_color_is_refused():
    for wrong in [{"matrix": 256}, {"matrix": -1}, {"range": "tv"}]:
        with pytest.raises((ValueError, OverflowError)):
            framelane.Color(**wrong)
