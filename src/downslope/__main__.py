"""`python -m downslope`: the command line, where the folder of installed commands is not on the path."""

from downslope.cli import main

if __name__ == "__main__":
    main()
