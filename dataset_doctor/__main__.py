"""`python -m dataset_doctor`, and the entry point of the `dataset-doctor` command."""

import os

from dataset_doctor.cli import interrupt


def main() -> None:
    """Run the command line; all that takes time to import is imported here, where Ctrl-C is awaited.

    Python processes that it starts do not look for modules in the current folder, which may be a stranger's.
    """
    interrupt.listen()
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    try:
        from dataset_doctor.cli.app import main as run

        run()
    except KeyboardInterrupt:
        interrupt.leave()
    except Exception:
        if interrupt.happened():
            interrupt.leave()
        raise


if __name__ == "__main__":
    main()
