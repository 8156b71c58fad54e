"""`python -m mobilenets` is the `mobilenets` command."""

from mobilenets.cli import main

main()
