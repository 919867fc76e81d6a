"""The public verbs: each is there, callable, and still callable after every submodule was imported."""

import importlib
import importlib.util
import pkgutil
import subprocess
import sys

import pytest

import lauterbur


@pytest.mark.parametrize("name", sorted(lauterbur._PUBLIC))
def test_a_public_name_can_be_imported(name):
    assert callable(getattr(lauterbur, name))


OF_EXTRAS = {"lauterbur.recon.learned_torch": "torch"}  # modules that the core install cannot import


def test_every_public_verb_is_still_callable_after_every_submodule_was_imported():
    for module in pkgutil.walk_packages(lauterbur.__path__, "lauterbur."):
        extra = OF_EXTRAS.get(module.name)
        if extra is None or importlib.util.find_spec(extra) is not None:
            importlib.import_module(module.name)
    shadowed = [name for name in lauterbur._PUBLIC if not callable(getattr(lauterbur, name))]
    assert not shadowed, f"a room or file hides these verbs: {shadowed}"


def test_no_public_name_is_also_a_module():
    modules = {module.name for module in pkgutil.iter_modules(lauterbur.__path__)}
    assert not modules & set(lauterbur._PUBLIC)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'reconstrukt'"):
        _ = lauterbur.reconstrukt


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, lauterbur; print([m for m in ('numpy', 'scipy', 'matplotlib', 'numba') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
