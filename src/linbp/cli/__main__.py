"""`python -m linbp.cli`: the command line without an installed script."""

from linbp.cli.app import main

main()
