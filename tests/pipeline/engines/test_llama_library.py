"""llama.cpp is loaded from whichever package brings it, and refused if it can't be understood."""

import _ctypes
import ctypes
import shutil
from pathlib import Path

import pytest

from mmtui.errors import MissingError
from mmtui.pipeline.engines import llama_library
from mmtui.pipeline.engines.llama_library import PACKAGES, find_packages, load_library


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The extension module of a package that hides the installed xllamacpp."""
    package = tmp_path / "xllamacpp"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    version = max(llama_library.XLLAMACPP_VERSIONS)
    monkeypatch.setattr(llama_library.metadata, "version", lambda _: version)
    load_library.cache_clear()
    return package / "xllamacpp.abi3.so"


@pytest.fixture(autouse=True)
def reload_afterwards():
    yield
    load_library.cache_clear()


@pytest.mark.parametrize("package", find_packages())
def test_a_library_reports_its_package_and_version(package):
    library = load_library(package)
    assert library.package == package
    assert library.version[0].isdigit()
    assert library.functions.llama_context_default_params().n_ctx == 512


def test_an_unknown_release_of_xllamacpp_is_not_used(stand_in, monkeypatch):
    monkeypatch.setattr(llama_library.metadata, "version", lambda _: "2020.1.1")
    assert "xllamacpp" not in find_packages()
    with pytest.raises(MissingError, match=r"version 2020\.1\.1 is not one of 20") as error:
        load_library("xllamacpp")
    assert "pip install --force-reinstall xllamacpp==20" in str(error.value.hint)


def test_a_package_without_its_extension_module_is_reported(stand_in):
    with pytest.raises(MissingError, match="its extension module is missing"):
        load_library("xllamacpp")


def test_a_damaged_library_is_reported(stand_in):
    stand_in.write_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(MissingError, match="xllamacpp can't be loaded"):
        load_library("xllamacpp")


def test_a_library_without_the_c_api_is_reported(stand_in):
    shutil.copy(_ctypes.__file__, stand_in)
    with pytest.raises(MissingError, match="llama_backend_init"):
        load_library("xllamacpp")


@pytest.mark.skipif("xllamacpp" not in find_packages(), reason="xllamacpp is not installed")
@pytest.mark.parametrize(
    ("function", "field", "value"),
    [
        ("llama_model_default_params", "use_extra_bufts", False),
        ("llama_model_default_params", "n_gpu_layers", 0),
        ("llama_context_default_params", "n_threads", 0),
        ("llama_context_default_params", "type_v", 0),
    ],
)
def test_structs_that_are_laid_out_in_another_way_are_refused(monkeypatch, function, field, value):
    check = llama_library._check_defaults

    def shift(library: ctypes.CDLL) -> None:
        params = getattr(library, function)()
        setattr(params, field, value)
        monkeypatch.setattr(library, function, lambda: params)
        check(library)

    monkeypatch.setattr(llama_library, "_check_defaults", shift)
    load_library.cache_clear()
    with pytest.raises(MissingError, match=rf"{function}\(\)\.{field} is "):
        load_library("xllamacpp")


def test_packages_are_ordered_by_preference():
    found = find_packages()
    assert found == [package for package in PACKAGES if package in found]
