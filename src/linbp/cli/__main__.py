"""`python -m linbp.cli`: the command line without an installed script."""

from linbp.cli import main

main()
