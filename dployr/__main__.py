"""`python -m dployr`: the same as the command `dployr`."""

from dployr.cli import main

main()
