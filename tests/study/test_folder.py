"""Folders appear whole or not at all, and never swallow what is not ours."""

import pytest

from lauterbur.errors import InputError
from lauterbur.study.folder import MARK, check_target, replacing_folder


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_all_is_written(tmp_path):
    with replacing_folder(tmp_path / "deep" / "out") as temporary:
        (temporary / "a").write_text("1")
        assert not (tmp_path / "deep" / "out").exists()
    assert listed(tmp_path / "deep" / "out") == ["a"]
    assert listed(tmp_path / "deep") == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_folder_leaves_nothing(tmp_path, error):
    with pytest.raises(error), replacing_folder(tmp_path / "out") as temporary:
        (temporary / "half").write_text("1")
        raise error
    assert listed(tmp_path) == []


def test_an_interrupted_second_run_leaves_the_first(tmp_path):
    with replacing_folder(tmp_path / "out") as temporary:
        (temporary / MARK).write_text("first")
    with pytest.raises(KeyboardInterrupt), replacing_folder(tmp_path / "out") as temporary:
        (temporary / MARK).write_text("second")
        raise KeyboardInterrupt
    assert (tmp_path / "out" / MARK).read_text() == "first" and listed(tmp_path) == ["out"]


def test_a_second_run_replaces_the_first(tmp_path):
    for word in ("first", "second"):
        with replacing_folder(tmp_path / "out") as temporary:
            (temporary / MARK).write_text(word)
            (temporary / word).touch()
    assert listed(tmp_path / "out") == ["second", MARK] and listed(tmp_path) == ["out"]


def test_a_folder_with_other_files_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds other files"):
        check_target(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        check_target(tmp_path / "thesis.tex")
    with pytest.raises(InputError):
        check_target("a\0b")


def test_an_empty_folder_may_be_used(tmp_path):
    with replacing_folder(tmp_path) as temporary:
        (temporary / MARK).touch()
    assert listed(tmp_path) == [MARK]


def test_a_folder_below_a_file_is_an_input_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError), replacing_folder(tmp_path / "file" / "out"):
        pass
