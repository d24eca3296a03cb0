"""The command line as a module: `python -m tailfit`, for launchers such as `torchrun -m tailfit train ...`."""

from tailfit.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
