"""What pyproject.toml cannot say: `data/` of the checkout is `analysis/_data` in a wheel."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATA = Path(__file__).parent / "data"


class BuildWithData(build_py):
    """Builds the packages, and puts the data beside them unless they are used where they lie (pip install -e)."""

    def run(self) -> None:
        """Build, and copy all but SmolLM2, which is set up on each machine."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "analysis" / "_data"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(DATA, target, ignore=_not_shipped)


def _not_shipped(folder: str, names: list[str]) -> set[str]:
    own = {name for name in names if name.startswith(".") or name.endswith(".part")}
    return own | {name for name in names if Path(folder) == DATA and name.startswith("smollm2")}


setup(cmdclass={"build_py": BuildWithData})
