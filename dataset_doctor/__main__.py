"""`python -m dataset_doctor`, and the entry point of the `dataset-doctor` command."""

import os
from typing import NoReturn

from dataset_doctor.cli import app


def main() -> NoReturn:
    """Run the command. Python processes that it starts do not look for modules in the current folder, which may be a stranger's."""
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    app.main()


if __name__ == "__main__":
    main()
