"""`python -m dataset_doctor`, and the entry point of the `dataset-doctor` command."""

from dataset_doctor.cli.app import main

if __name__ == "__main__":
    main()
