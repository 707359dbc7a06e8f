"""What rapidocr does not document. See `mmtui.compat` for the versions."""

import sys
from pathlib import Path
from threading import Lock

from omegaconf import DictConfig, OmegaConf

_lock = Lock()


def import_rapidocr() -> None:
    """Import rapidocr in a third of the time that it takes otherwise.

    Its modules parse the table of all models that it can download, twice. Here, this table is
    empty, because models are passed as paths.
    """
    with _lock:
        if "rapidocr.main" in sys.modules:
            return
        load = OmegaConf.load

        def load_without_table(file: str | Path) -> object:
            return DictConfig({}) if Path(file).name == "default_models.yaml" else load(file)

        setattr(OmegaConf, "load", staticmethod(load_without_table))  # noqa: B010
        try:
            import rapidocr

            _ = rapidocr.RapidOCR  # is imported only when it is used
        finally:
            setattr(OmegaConf, "load", staticmethod(load))  # noqa: B010
