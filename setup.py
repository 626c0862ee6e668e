"""What ``pyproject.toml`` cannot say: files of the project that go into the package with it."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("config/schema.yaml", "data/versions.csv", "paper/*.csv")
"""What code reads and a clone has beside the package; :mod:`lwdna.io.project` finds both."""


class BuildWithFiles(build_py):
    """Copies them into ``lwdna/project/`` of what is installed, not of the clone."""

    def run(self) -> None:
        """Build as ever, then copy."""
        super().run()
        if self.editable_mode:
            return
        for pattern in SHIPPED:
            for file in sorted(Path().glob(pattern)):
                target = Path(self.build_lib, "lwdna/project", file)
                target.parent.mkdir(parents=True, exist_ok=True)
                self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithFiles})
